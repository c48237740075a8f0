//! What waits for the disk, for tasks: on a queue of its own, never on the main thread or on one of Swift's few.

import Foundation

/// More calls at once than it takes wait for each other: threads that block are scarce.
private let disk: OperationQueue = {
    let queue = OperationQueue()
    queue.name = "dev.rejoin.disk"
    queue.qualityOfService = .userInitiated
    queue.maxConcurrentOperationCount = 8
    return queue
}()

/// Runs what waits for the disk.
func offMain<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        disk.addOperation { continuation.resume(with: Result(catching: work)) }
    }
}

extension RejoinClient {
    /// Anything that a client does, off the main thread: `try await client.io { try $0.documents(space: space) }`.
    public func io<T: Sendable>(_ block: @escaping @Sendable (RejoinClient) throws -> T) async throws -> T {
        try await offMain { try block(self) }
    }

    /// Exchanges changes until everything is up to date or time runs out. Cancelling the task does not end it: give it a
    /// deadline that the operating system's window allows.
    @discardableResult
    public func syncOnce(within seconds: TimeInterval) async throws -> SyncSummary {
        try await syncOnce(deadlineMs: milliseconds(seconds))
    }

    /// Waits until the server has everything that this device wrote in a space. False if it has not in time.
    public func waitDurable(space: SpaceId, within seconds: TimeInterval) async throws -> Bool {
        try await waitDurable(space: space, timeoutMs: milliseconds(seconds))
    }

    /// Shows something to whoever else is in a space, for as long as this client is connected, and so much longer.
    public func showPresence(space: SpaceId, _ data: Data, lasting seconds: TimeInterval = 30) throws {
        try setPresence(space: space, data: data, ttlMs: milliseconds(seconds))
    }
}

extension Document {
    /// Anything that a document does, off the main thread: `try await doc.io { try $0.length(path: "/items") }`.
    public func io<T: Sendable>(_ block: @escaping @Sendable (Document) throws -> T) async throws -> T {
        try await offMain { try block(self) }
    }
}

extension Document {
    /// Waits until the server has decided about an edit, and gives what has become of it by then.
    public func waitForEdit(_ edit: UInt64, within seconds: TimeInterval) async throws -> ChangeState {
        try await waitForEdit(edit: edit, timeoutMs: milliseconds(seconds))
    }
}

private func milliseconds(_ seconds: TimeInterval) -> UInt64 {
    // Beyond a year nobody waits, and no conversion traps.
    UInt64(min(max(seconds, 0), 31_536_000) * 1000)
}
