// swift-tools-version:5.9
//! The Swift package: the library as an XCFramework, and Swift over it. `build-xcframework` makes what is not in the repository:
//! `RejoinFFI.xcframework` and `Sources/Rejoin/Generated/Rejoin.swift`.

import PackageDescription

let package = Package(
    name: "Rejoin",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [
        .library(name: "Rejoin", targets: ["Rejoin"]),
    ],
    targets: [
        .binaryTarget(name: "RejoinFFI", path: "RejoinFFI.xcframework"),
        .target(
            name: "Rejoin",
            dependencies: ["RejoinFFI"],
            linkerSettings: [
                // Of the operating system's certificates and network, which the library's TLS asks.
                .linkedFramework("Security"),
                .linkedFramework("SystemConfiguration"),
            ]
        ),
    ]
)
