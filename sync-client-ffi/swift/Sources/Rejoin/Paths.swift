//! Paths into documents. Made here and not by the library: a call costs more than the string.

/// One step of a path: a string is a key of a map, an integer an index of a list.
public protocol PathPart {
    /// The step as it stands in a path, behind its slash.
    var pathPart: String { get }
}

extension Int: PathPart {
    public var pathPart: String {
        precondition(self >= 0, "an index is counted from 0, \(self) is not one")
        return String(self)
    }
}

extension String: PathPart {
    public var pathPart: String {
        // A step of digits alone is an index: such a key is marked.
        let digits = !utf8.isEmpty && utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        var part = digits ? "~2" : ""
        for character in unicodeScalars {
            switch character {
            case "~": part += "~0"
            case "/": part += "~1"
            default: part.unicodeScalars.append(character)
            }
        }
        return part
    }
}

/// The path of these steps: `path("items", 3, "title")` is `/items/3/title`. No steps: the whole document.
public func path(_ steps: PathPart...) -> String {
    steps.map { "/" + $0.pathPart }.joined()
}
