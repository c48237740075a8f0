//! Errors say their text where Swift looks for it.

import Foundation

extension RejoinError: CustomStringConvertible, LocalizedError {
    /// What happened, and what to do: for the developer. For people, write your own by the case.
    public var errorDescription: String? { description }
}

extension TokenProviderError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .Unavailable(let reason): return "no token now: \(reason)"
        case .SignedOut: return "signed out"
        }
    }
}

extension CredentialsStoreError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .Failed(let reason): return reason
        }
    }
}
