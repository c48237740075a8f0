//! A sample to copy: a list of notes in SwiftUI. Needs Apple's SDK.

import Rejoin
import SwiftUI

struct Note: Decodable, Sendable, Equatable {
    var title: String?
    var body: String?
}

@MainActor
final class Notes: ObservableObject {
    @Published private(set) var entries: [DocumentEntry] = []
    @Published private(set) var offline = false

    let client: RejoinClient
    let space: SpaceId

    init(client: RejoinClient) throws {
        self.client = client
        space = try client.personalSpace()
    }

    func follow() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.followList() }
            group.addTask { try? await self.followStatus() }
        }
    }

    func add(_ title: String) async throws {
        let space = space
        let doc = try await client.io { try $0.createDocument(space: space, collection: "notes") }
        try await doc.edit {
            $0.put("/title", Value.newText(title))
            $0.put("/body", Value.newText())
        }
    }

    private func followList() async throws {
        for try await entries in try client.documentsStream(space: space, collection: "notes") { self.entries = entries }
    }

    private func followStatus() async throws {
        for try await status in try client.statusStream() { offline = status == .offline }
    }
}

struct NotesView: View {
    @StateObject var notes: Notes

    var body: some View {
        List(notes.entries, id: \.document) { entry in
            NoteRow(client: notes.client, space: notes.space, entry: entry)
        }
        .overlay(alignment: .bottom) { if notes.offline { Text("Offline: everything is kept") } }
        .task { await notes.follow() }
    }
}

struct NoteRow: View {
    let client: RejoinClient
    let space: SpaceId
    let entry: DocumentEntry
    @State private var note: Note?

    var body: some View {
        Text(note?.title ?? "Untitled")
            .task {
                do {
                    let doc = try client.document(space: space, document: entry.document)
                    for try await note in try doc.readStream(Note.self) { self.note = note }
                } catch {
                    note = nil
                }
            }
    }
}
