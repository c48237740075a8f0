//! A sample to copy: exchanges changes when iOS lets the app run. Needs Apple's SDK.
//!
//! In Info.plist: `BGTaskSchedulerPermittedIdentifiers` with the identifier below, `UIBackgroundModes` with `fetch` and, for silent
//! pushes, `remote-notification`.

import BackgroundTasks
import Rejoin
import UIKit

enum BackgroundSync {
    static let identifier = "com.example.notes.sync"
    /// iOS gives a refresh about 30 seconds, and takes what is left of the app's good name if it overruns.
    private static let refreshSeconds: TimeInterval = 20

    /// In `application(_:didFinishLaunchingWithOptions:)`, before it returns.
    static func register(client: RejoinClient) {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { task in
            schedule()
            let exchange = Task {
                task.setTaskCompleted(success: await sync(client, within: refreshSeconds))
            }
            // The deadline comes before this does. If it does not: what came is kept, the next call goes on from there.
            task.expirationHandler = {
                exchange.cancel()
                try? client.stop()
                task.setTaskCompleted(success: false)
            }
        }
    }

    /// When the app goes to the background, and in each refresh: a request is good for one.
    static func schedule() {
        let request = BGAppRefreshTaskRequest(identifier: identifier)
        request.earliestBeginDate = Date(timeIntervalSinceNow: 15 * 60)
        // Refused where the person has turned background refresh off: then silent pushes and the next start are what is left.
        try? BGTaskScheduler.shared.submit(request)
    }

    /// In `application(_:didReceiveRemoteNotification:fetchCompletionHandler:)`, for a push with `content-available`.
    static func onSilentPush(client: RejoinClient) async -> UIBackgroundFetchResult {
        await sync(client, within: refreshSeconds) ? .newData : .failed
    }

    private static func sync(_ client: RejoinClient, within seconds: TimeInterval) async -> Bool {
        do {
            try await client.syncOnce(within: seconds)
            return true
        } catch {
            return false
        }
    }
}

/// The app's life, told to the library: keep one for as long as the app runs.
final class RejoinLifecycle {
    private let client: RejoinClient
    private var observers: [NSObjectProtocol] = []

    init(client: RejoinClient) {
        self.client = client
        let center = NotificationCenter.default
        observers.append(center.addObserver(forName: UIApplication.willEnterForegroundNotification, object: nil, queue: nil) { _ in
            try? client.onForeground()
        })
        observers.append(center.addObserver(forName: UIApplication.didEnterBackgroundNotification, object: nil, queue: nil) { [weak self] _ in
            self?.leave()
        })
    }

    deinit {
        observers.forEach(NotificationCenter.default.removeObserver)
    }

    /// About five seconds are left: asks for the few that sending what is pending takes.
    private func leave() {
        BackgroundSync.schedule()
        let application = UIApplication.shared
        var assertion = UIBackgroundTaskIdentifier.invalid
        let client = client
        let end = { @MainActor in
            application.endBackgroundTask(assertion)
            assertion = .invalid
        }
        assertion = application.beginBackgroundTask(withName: "rejoin") { Task { @MainActor in end() } }
        Task { @MainActor in
            try? await client.io { client in
                try client.onBackground()
                _ = try client.syncOnceBlocking(deadlineMs: 4_000)
            }
            end()
        }
    }
}
