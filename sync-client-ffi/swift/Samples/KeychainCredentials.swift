//! A sample to copy: what signs this device in, in the Keychain. Needs Apple's SDK.

import Foundation
import Rejoin
import Security

/// Whoever has it is this device: so it never leaves it (`ThisDeviceOnly` keeps it out of backups and of other devices), and it can be
/// read after the first unlock, since tokens are renewed in the background of a locked phone.
final class KeychainCredentials: CredentialsStore {
    private let service: String
    private let group: String?

    /// `group` is a Keychain access group that an extension shares with the app, if one does.
    init(service: String = "dev.rejoin.credentials", group: String? = nil) {
        (self.service, self.group) = (service, group)
    }

    private var query: [CFString: Any] {
        var query: [CFString: Any] = [
            kSecClass: kSecClassGenericPassword,
            kSecAttrService: service,
            kSecAttrAccount: "device",
            kSecUseDataProtectionKeychain: true,
        ]
        if let group { query[kSecAttrAccessGroup] = group }
        return query
    }

    func load() throws -> Data? {
        var found: CFTypeRef?
        let wanted: [CFString: Any] = [kSecReturnData: true, kSecMatchLimit: kSecMatchLimitOne]
        let status = SecItemCopyMatching(query.merging(wanted) { _, new in new } as CFDictionary, &found)
        switch status {
        case errSecSuccess: return found as? Data
        case errSecItemNotFound: return nil
        // Before the first unlock: not the same as "nothing is there", which would sign the device out.
        default: throw failed("read", status)
        }
    }

    func save(secret: Data) throws {
        let content: [CFString: Any] = [
            kSecValueData: secret,
            kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
        ]
        // One item is replaced as a whole: a kill leaves the old one or the new one.
        var status = SecItemUpdate(query as CFDictionary, content as CFDictionary)
        if status == errSecItemNotFound {
            status = SecItemAdd(query.merging(content) { _, new in new } as CFDictionary, nil)
        }
        guard status == errSecSuccess else { throw failed("write", status) }
    }

    func clear() throws {
        let status = SecItemDelete(query as CFDictionary)
        guard status == errSecSuccess || status == errSecItemNotFound else { throw failed("clear", status) }
    }

    private func failed(_ what: String, _ status: OSStatus) -> CredentialsStoreError {
        let words = SecCopyErrorMessageString(status, nil) as String? ?? "no words for it"
        return .Failed(reason: "the Keychain does not \(what): \(words) (\(status))")
    }
}
