//! Accounts of the server's own: sign up, sign in, go on at the next start.

package dev.rejoin.tests

import dev.rejoin.Account
import dev.rejoin.CredentialsStore
import dev.rejoin.NewAccountDevice
import dev.rejoin.OpenOptions
import dev.rejoin.RejoinClient
import dev.rejoin.RejoinException
import dev.rejoin.Role
import dev.rejoin.Session
import dev.rejoin.SessionState
import dev.rejoin.SignInProof
import dev.rejoin.edit
import dev.rejoin.stateFlow
import dev.rejoin.syncOnce
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first

private const val PASSWORD = "Correct-Horse-7-Battery"

private class InMemory : CredentialsStore {
    @Volatile
    var kept: ByteArray? = null

    @Volatile
    var broken = false

    override fun load(): ByteArray? = kept

    override fun save(secret: ByteArray) {
        if (broken) throw IllegalStateException("the keystore is locked")
        kept = secret
    }

    override fun clear() {
        kept = null
    }
}

fun Tests.accounts(server: Server) {
    val phone = NewAccountDevice("Ann's phone", "android", "2.4.1")

    test("a person signs up, signs in, and goes on at the next start") {
        val email = "${server.unique("ann")}@example.com"
        val store = InMemory()
        timed {
            val account = Account(server.url)
            account.signUp(email, PASSWORD, "Ann")
            val session = account.signIn(SignInProof.Password(email, PASSWORD), phone, store)
            val options = OpenOptions(server.file("${server.unique("store")}.rejoin"), session)
            val id = RejoinClient.open(options).use { client ->
                checkEqual(client.device(), session.device())
                val doc = client.createDocument(client.personalSpace(), "notes")
                doc.edit { put("/title", "signed in") }
                client.syncOnce(PATIENCE_S.seconds)
                checkEqual(client.pending(client.personalSpace()).changes, 0UL)
                doc.id()
            }
            val resumed = Session.resume(store)
            checkEqual(resumed.stateFlow().first(), SessionState.SignedIn as SessionState)
            RejoinClient.open(options.copy(session = resumed)).use { client ->
                client.syncOnce(PATIENCE_S.seconds)
                checkEqual(client.document(client.personalSpace(), id).json("/title"), "\"signed in\"")
            }
            checkEqual(resumed.account().devices().single { it.current }.name, phone.name)
            val space = resumed.account().createSpace("Our home")
            checkEqual(space.role, Role.OWNER)
            check(resumed.account().invite(space.space, Role.WRITER).token.isNotEmpty()) { "an invitation" }
            resumed.logOut(false)
            checkEqual(store.kept, null)
            val out = checkThrows<RejoinException.SignedOut> { Session.resume(store) }
            check(out.text.isNotEmpty() && !out.revoked) { "$out" }
            val wrong = SignInProof.Password(email, "not that")
            checkThrows<RejoinException.LoginFailed> { account.signIn(wrong, phone, store) }
            checkEqual(store.kept, null)
        }
    }

    test("a keystore that fails is an error with its reason") {
        val email = "${server.unique("ann")}@example.com"
        timed {
            val account = Account(server.url)
            account.signUp(email, PASSWORD, "Ann")
            val store = InMemory().apply { broken = true }
            val error = checkThrows<RejoinException.CredentialsStore> {
                account.signIn(SignInProof.Password(email, PASSWORD), phone, store)
            }
            check("the keystore is locked" in error.text) { error.text }
        }
    }
}
