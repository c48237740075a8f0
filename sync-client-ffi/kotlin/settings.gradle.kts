//! A build of its own: `includeBuild("…/sync-client-ffi/kotlin")` in an app's settings makes `dev.rejoin:rejoin` of it.

pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "rejoin"
