//! The Android library: generated bindings, the sugar, and the native library of each ABI. `build-android` makes the first and the
//! last; without it there is nothing to build. NOT RUN by this repository's tests, which compile the same sources on a JVM.

plugins {
    id("com.android.library") version "8.7.3"
    id("org.jetbrains.kotlin.android") version "2.1.0"
    id("maven-publish")
}

group = "dev.rejoin"
version = "0.1.0"

android {
    namespace = "dev.rejoin"
    compileSdk = 35

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
    }

    sourceSets.getByName("main") {
        kotlin.srcDir("build/generated/uniffi")
        jniLibs.srcDir("build/jniLibs")
    }

    compileOptions {
        // java.time below Android 8.
        isCoreLibraryDesugaringEnabled = true
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    kotlinOptions { jvmTarget = "17" }

    publishing { singleVariant("release") { withSourcesJar() } }
}

dependencies {
    // With its own native part for Android; from 5.17 on with 16 KB pages.
    api("net.java.dev.jna:jna:5.17.0@aar")
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.9.0")
    coreLibraryDesugaring("com.android.tools:desugar_jdk_libs:2.1.4")
}

// Said at once, instead of as hundreds of missing names.
tasks.named("preBuild") {
    doFirst {
        check(file("build/generated/uniffi/dev/rejoin/rejoin.kt").exists()) { "run ./build-android first: there are no bindings yet" }
    }
}

publishing {
    publications.register<MavenPublication>("release") {
        artifactId = "rejoin"
        afterEvaluate { from(components["release"]) }
    }
}
