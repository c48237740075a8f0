//! A sample to copy: what signs this device in, in a file that is encrypted with a key of the Android Keystore.

package com.example.notes

import android.content.Context
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyProperties
import android.util.AtomicFile
import dev.rejoin.CredentialsStore
import dev.rejoin.CredentialsStoreException
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.security.GeneralSecurityException
import java.security.KeyStore
import javax.crypto.Cipher
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

private const val KEYSTORE = "AndroidKeyStore"
private const val ALIAS = "rejoin-credentials"
private const val CIPHER = "AES/GCM/NoPadding"
private const val NONCE_BYTES = 12
private const val TAG_BITS = 128

/**
 * The key never leaves the device's secure hardware, so the file is worth nothing elsewhere, and it lies where backups do not go. The
 * key asks for no fingerprint: tokens are renewed in the background.
 */
class KeystoreCredentials(context: Context) : CredentialsStore {
    private val file = AtomicFile(File(context.noBackupFilesDir, "rejoin-credentials"))

    override fun load(): ByteArray? = kept("read") {
        val sealed = try {
            file.readFully()
        } catch (_: FileNotFoundException) {
            return null
        }
        val cipher = Cipher.getInstance(CIPHER)
        // A key that is gone makes this fail: that is not the same as "nobody is signed in".
        cipher.init(Cipher.DECRYPT_MODE, key(), GCMParameterSpec(TAG_BITS, sealed, 0, NONCE_BYTES))
        cipher.doFinal(sealed, NONCE_BYTES, sealed.size - NONCE_BYTES)
    }

    override fun save(secret: ByteArray): Unit = kept("write") {
        val cipher = Cipher.getInstance(CIPHER)
        cipher.init(Cipher.ENCRYPT_MODE, key())
        val sealed = cipher.iv + cipher.doFinal(secret)
        // On disk, all of it or nothing, when this returns: AtomicFile syncs, then renames.
        val out = file.startWrite()
        try {
            out.write(sealed)
        } catch (error: IOException) {
            file.failWrite(out)
            throw error
        }
        file.finishWrite(out)
    }

    override fun clear(): Unit = file.delete()

    private fun key(): SecretKey {
        val keystore = KeyStore.getInstance(KEYSTORE).apply { load(null) }
        (keystore.getKey(ALIAS, null) as? SecretKey)?.let { return it }
        val spec = KeyGenParameterSpec.Builder(ALIAS, KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(256)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, KEYSTORE).apply { init(spec) }.generateKey()
    }

    private inline fun <T> kept(what: String, block: () -> T): T = try {
        block()
    } catch (error: GeneralSecurityException) {
        throw CredentialsStoreException.Failed("the Keystore does not $what: $error")
    } catch (error: IOException) {
        throw CredentialsStoreException.Failed("the file of credentials does not $what: $error")
    }
}
