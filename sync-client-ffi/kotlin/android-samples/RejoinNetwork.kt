//! A sample to copy: tells the library when the network comes and goes.

package com.example.notes

import android.content.Context
import android.net.ConnectivityManager
import android.net.Network
import dev.rejoin.RejoinClient

/** Without it the library tries by itself, later and later; with it, it is back at once. */
class RejoinNetwork(context: Context, private val client: RejoinClient) : ConnectivityManager.NetworkCallback() {
    private val connectivity = context.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager

    fun register(): Unit = connectivity.registerDefaultNetworkCallback(this)

    fun unregister(): Unit = connectivity.unregisterNetworkCallback(this)

    // Also when the phone goes from Wi-Fi to the mobile network: the old connection is dead, whatever TCP thinks.
    override fun onAvailable(network: Network): Unit = tell(online = true)

    override fun onLost(network: Network): Unit = tell(online = false)

    private fun tell(online: Boolean) {
        // A client that was shut does not want to know; what Android calls must not throw.
        runCatching { client.onNetworkChanged(online) }
    }
}
