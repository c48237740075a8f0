//! Observers as asynchronous sequences. Each begins to listen when it is made, and stops when its task is cancelled or the loop is left.
//!
//! None keeps the library's observer thread waiting. Those that show a state skip to the newest where the loop is slow; events of a
//! document wait, so many of them, and become "look again" if there are more.

import Foundation

/// Events of one document that wait for a slow loop.
private let eventsMax = 64

/// Something to read, now and whenever it may have changed.
private func reading<T: Sendable>(
    watch: (@escaping @Sendable () -> Void) throws -> Watch,
    read: @escaping @Sendable () throws -> T
) throws -> AsyncThrowingStream<T, Error> {
    let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    // Listens first, so that nothing falls between the first read and the first call.
    let watching = try watch { signal.yield() }
    signal.yield()
    return AsyncThrowingStream(bufferingPolicy: .bufferingNewest(1)) { states in
        let task = Task {
            do {
                for await _ in signals { states.yield(try await offMain(read)) }
                states.finish()
            } catch {
                states.finish(throwing: error)
            }
        }
        states.onTermination = { _ in
            task.cancel()
            watching.cancel()
            signal.finish()
        }
    }
}

extension Document {
    /// Every change of the document, in order, from this call on. Read the document after it, not before.
    /// `DocumentEvent.lookAgain` means to read it again.
    public func events() throws -> AsyncStream<DocumentEvent> {
        let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let waiting = WaitingEvents()
        let watching = try observe(observer: OnEvent { event in
            waiting.add(event)
            signal.yield()
        })
        let arrived = Arrived(signals: signals.makeAsyncIterator(), waiting: waiting)
        return AsyncStream(
            unfolding: { await arrived.next() },
            onCancel: {
                watching.cancel()
                signal.finish()
            }
        )
    }

    /// What is at a path as JSON, now and after each change of the document. Nil while there is nothing, and once it is deleted.
    public func jsonStream(at path: String = "") throws -> AsyncThrowingStream<String?, Error> {
        try reading(watch: watchChanges) { try unlessDeleted { try self.json(path: path) } }
    }

    /// What is at a path as a type of the app's own, now and after each change of the document.
    public func readStream<T: Decodable & Sendable>(
        _ type: T.Type = T.self, at path: String = ""
    ) throws -> AsyncThrowingStream<T?, Error> {
        try reading(watch: watchChanges) { try unlessDeleted { try self.read(type, at: path) } }
    }

    private func watchChanges(_ changed: @escaping @Sendable () -> Void) throws -> Watch {
        try observe(observer: OnEvent { _ in changed() })
    }
}

private func unlessDeleted<T>(_ read: () throws -> T?) throws -> T? {
    do {
        return try read()
    } catch RejoinError.Deleted {
        return nil
    }
}

extension RejoinClient {
    /// The documents of a space, or of one collection in it, now and whenever some come or go.
    public func documentsStream(
        space: SpaceId, collection: String? = nil
    ) throws -> AsyncThrowingStream<[DocumentEntry], Error> {
        try reading(watch: { try self.observeDocuments(space: space, observer: OnList(tell: $0)) }) {
            try self.documents(space: space, collection: collection)
        }
    }

    /// How synchronisation stands, now and at each change.
    public func statusStream() throws -> AsyncThrowingStream<SyncStatus, Error> {
        try reading(watch: { changed in try self.observeStatus(observer: OnStatus { _ in changed() }) }) { try self.status() }
    }

    /// Who else shows itself in a space, now and at each change.
    public func peersStream(space: SpaceId) throws -> AsyncThrowingStream<[Peer], Error> {
        try reading(watch: { changed in try self.observePresence(space: space, observer: OnPeers { _ in changed() }) }) {
            try self.peers(space: space)
        }
    }

    /// Whether the server lets this user into a space, now and at each change.
    public func accessStream(space: SpaceId) throws -> AsyncThrowingStream<Bool, Error> {
        try reading(watch: { try self.observeAccess(space: space, observer: OnAccess(tell: $0)) }) {
            try self.hasAccess(space: space)
        }
    }
}

/// Events that wait, at most so many.
private final class WaitingEvents: @unchecked Sendable {
    private let lock = NSLock()
    private var events: [DocumentEvent] = []

    func add(_ event: DocumentEvent) {
        lock.lock()
        defer { lock.unlock() }
        guard case .changed(let space, let document, _) = event else {
            // Whoever reads the document again needs no steps from before.
            events = [event]
            return
        }
        if case .lookAgain? = events.last { return }
        if events.count >= eventsMax {
            events = [.lookAgain(space: space, document: document)]
        } else {
            events.append(event)
        }
    }

    func take() -> DocumentEvent? {
        lock.lock()
        defer { lock.unlock() }
        return events.isEmpty ? nil : events.removeFirst()
    }
}

/// What the loop takes; by one task at a time, as of any `AsyncStream`.
private final class Arrived: @unchecked Sendable {
    private var signals: AsyncStream<Void>.AsyncIterator
    private let waiting: WaitingEvents

    init(signals: AsyncStream<Void>.AsyncIterator, waiting: WaitingEvents) {
        (self.signals, self.waiting) = (signals, waiting)
    }

    func next() async -> DocumentEvent? {
        while true {
            if let event = waiting.take() { return event }
            if await signals.next() == nil { return nil }
        }
    }
}

private final class OnEvent: DocumentObserver {
    private let tell: @Sendable (DocumentEvent) -> Void
    init(_ tell: @escaping @Sendable (DocumentEvent) -> Void) { self.tell = tell }
    func onEvent(event: DocumentEvent) { tell(event) }
}

private final class OnList: ListObserver {
    private let tell: @Sendable () -> Void
    init(tell: @escaping @Sendable () -> Void) { self.tell = tell }
    func onList() { tell() }
}

private final class OnAccess: AccessObserver {
    private let tell: @Sendable () -> Void
    init(tell: @escaping @Sendable () -> Void) { self.tell = tell }
    func onAccess() { tell() }
}

private final class OnStatus: StatusObserver {
    private let tell: @Sendable (SyncStatus) -> Void
    init(_ tell: @escaping @Sendable (SyncStatus) -> Void) { self.tell = tell }
    func onStatus(status: SyncStatus) { tell(status) }
}

private final class OnPeers: PresenceObserver {
    private let tell: @Sendable ([Peer]) -> Void
    init(_ tell: @escaping @Sendable ([Peer]) -> Void) { self.tell = tell }
    func onPresence(peers: [Peer]) { tell(peers) }
}
