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

/// Something to follow step by step. `again` gives what stands for a step that is left out; nil for what is no step.
private func following<Event: Sendable & Equatable>(
    watch: (@escaping @Sendable (Event) -> Void) throws -> Watch,
    again: @escaping @Sendable (Event) -> Event?
) throws -> AsyncStream<Event> {
    let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let waiting = Waiting(again: again)
    let watching = try watch { event in
        waiting.add(event)
        signal.yield()
    }
    let arrived = Arrived(signals: signals.makeAsyncIterator(), waiting: waiting)
    // Where the loop is left without being cancelled, the watch ends with the sequence, which holds it.
    return AsyncStream(
        unfolding: { await arrived.next() },
        onCancel: {
            watching.cancel()
            signal.finish()
        }
    )
}

extension Document {
    /// Every change of the document, in order, from this call on. Read the document after it, not before.
    /// `DocumentEvent.lookAgain` means to read it again.
    public func events() throws -> AsyncStream<DocumentEvent> {
        try following(watch: { try self.observe(observer: OnEvent($0)) }) { event in
            if case .changed(let space, let document, _) = event { return .lookAgain(space: space, document: document) }
            return nil
        }
    }

    /// What becomes of this device's edits of the document, from this call on.
    public func editEvents() throws -> AsyncStream<EditEvent> {
        try following(watch: { try self.observeEdits(observer: OnEdits($0)) }) { event in
            if case .changed(let space, let document, _) = event { return .lookAgain(space: space, document: document) }
            return nil
        }
    }

    /// What has become of one edit, now and at each step that it goes: for "saved" and "sent" beside a document.
    public func editStateStream(_ edit: UInt64) throws -> AsyncThrowingStream<ChangeState, Error> {
        try reading(watch: { changed in try self.observeEdits(observer: OnEdits { _ in changed() }) }) {
            try self.editState(edit: edit)
        }
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

    /// Which documents of a space, or of one collection in it, came, changed or went, from this call on.
    public func collectionEvents(space: SpaceId, collection: String? = nil) throws -> AsyncStream<CollectionEvent> {
        let watch = { (tell: @escaping @Sendable (CollectionEvent) -> Void) in
            try self.observeCollection(space: space, collection: collection, observer: OnCollection(tell))
        }
        return try following(watch: watch) { event in
            if case .changed(let space, _, _, _) = event { return .lookAgain(space: space) }
            return nil
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
private final class Waiting<Event: Sendable & Equatable>: @unchecked Sendable {
    private let lock = NSLock()
    private let again: @Sendable (Event) -> Event?
    private var events: [Event] = []

    init(again: @escaping @Sendable (Event) -> Event?) { self.again = again }

    func add(_ event: Event) {
        let instead = again(event)
        lock.lock()
        defer { lock.unlock() }
        guard let instead else {
            // Whoever looks again needs no steps from before.
            events = [event]
            return
        }
        if events.last == instead { return }
        if events.count >= eventsMax {
            events = [instead]
        } else {
            events.append(event)
        }
    }

    func take() -> Event? {
        lock.lock()
        defer { lock.unlock() }
        return events.isEmpty ? nil : events.removeFirst()
    }
}

/// What the loop takes; by one task at a time, as of any `AsyncStream`.
private final class Arrived<Event: Sendable & Equatable>: @unchecked Sendable {
    private var signals: AsyncStream<Void>.AsyncIterator
    private let waiting: Waiting<Event>

    init(signals: AsyncStream<Void>.AsyncIterator, waiting: Waiting<Event>) {
        (self.signals, self.waiting) = (signals, waiting)
    }

    func next() async -> Event? {
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

private final class OnEdits: EditObserver {
    private let tell: @Sendable (EditEvent) -> Void
    init(_ tell: @escaping @Sendable (EditEvent) -> Void) { self.tell = tell }
    func onEdits(event: EditEvent) { tell(event) }
}

private final class OnCollection: CollectionObserver {
    private let tell: @Sendable (CollectionEvent) -> Void
    init(_ tell: @escaping @Sendable (CollectionEvent) -> Void) { self.tell = tell }
    func onCollection(event: CollectionEvent) { tell(event) }
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
