//! Swift's literals and values as values of documents.

import Foundation

extension Value: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value: value) }
    public init(integerLiteral value: Int64) { self = .int(value: value) }
    public init(floatLiteral value: Double) { self = .float(value: value) }
    public init(stringLiteral value: String) { self = .str(value: value) }
    public init(arrayLiteral elements: Value...) { self = .items(value: elements) }
    public init(dictionaryLiteral elements: (String, Value)...) {
        self = .fields(value: Dictionary(elements, uniquingKeysWith: { _, last in last }))
    }
}

/// What can be put into a document.
public protocol ValueConvertible {
    /// As a value of a document.
    var rejoinValue: Value { get }
}

extension Value: ValueConvertible {
    public var rejoinValue: Value { self }

    /// A text that people type: concurrent insertions are merged character by character. A plain string is replaced as a whole.
    public static func newText(_ characters: String = "") -> Value { .text(value: characters) }

    /// A number to which concurrent increments add up.
    public static func newCounter(_ start: Int64 = 0) -> Value { .counter(value: start) }
}

extension Bool: ValueConvertible { public var rejoinValue: Value { .bool(value: self) } }
extension Int: ValueConvertible { public var rejoinValue: Value { .int(value: Int64(self)) } }
extension Int64: ValueConvertible { public var rejoinValue: Value { .int(value: self) } }
extension Double: ValueConvertible { public var rejoinValue: Value { .float(value: self) } }
extension String: ValueConvertible { public var rejoinValue: Value { .str(value: self) } }
extension Data: ValueConvertible { public var rejoinValue: Value { .bytes(value: self) } }

extension Date: ValueConvertible {
    public var rejoinValue: Value { .timestamp(value: Int64((timeIntervalSince1970 * 1000).rounded())) }
}

extension Optional: ValueConvertible where Wrapped: ValueConvertible {
    public var rejoinValue: Value { self?.rejoinValue ?? .null }
}

extension Array: ValueConvertible where Element: ValueConvertible {
    public var rejoinValue: Value { .items(value: map(\.rejoinValue)) }
}

extension Dictionary: ValueConvertible where Key == String, Value: ValueConvertible {
    public var rejoinValue: Rejoin.Value { .fields(value: mapValues(\.rejoinValue)) }
}
