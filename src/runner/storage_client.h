#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "domain/ports/storage.h"
#include "runner/control_plane_link.h"

namespace alga::runner {

/// Extension storage over the internal storage API of the control plane, ours or the reference's
/// (`POST /api/internal/ext-storage/install/{id}`), for runners without a database. The grant of
/// the execution is the bearer where there is one, else the configured token. Values travel as
/// base64 with the metadata `{"encoding":"base64-bytes"}`.
///
/// What the earlier system's API gets wrong is put right as far as it can be: a cursor names the
/// last record of its page (theirs loses one at each border), and a write that must create is
/// answered rightly where their API always refuses it, by looking first and at the new revision;
/// of two at once only one is told that it created, though the other's value may be what stays.
///
/// Errors: those of the port. 401 and 403 are `storage.denied`, 404 `storage.missing`, 409
/// `storage.conflict`, 400 `storage.invalid` or, when our control plane says so,
/// `storage.schema_violation` with its reason, 429 `storage.quota` or, when it is about the rate,
/// `storage.denied`; anything else, silence included, is `storage.unavailable`. Nothing is sent
/// twice. Thread-safe.
class StorageClient final : public domain::ExtensionStorage {
 public:
  /// `client` outlives the object and every request.
  StorageClient(ControlPlaneLink link, egress::HttpClient& client);

  void get(domain::StorageScope scope, std::string ns, std::string key,
           Callback<domain::StorageRecord> done) override;
  void put(domain::StorageScope scope, domain::StoragePut put,
           Callback<std::uint64_t> done) override;
  void remove(domain::StorageScope scope, std::string ns, std::string key,
              domain::WriteCondition condition, Callback<void> done) override;
  void list(domain::StorageScope scope, domain::StorageList list,
            Callback<domain::StoragePage> done) override;

 private:
  const ControlPlaneLink link_;
  egress::HttpClient& client_;
};

}  // namespace alga::runner
