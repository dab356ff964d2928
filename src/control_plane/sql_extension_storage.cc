#include "control_plane/storage_records.h"

namespace alga::control_plane {
namespace {

Result<domain::StorageRecord> for_guest(const StoredRecord& record) {
  TRY(std::string value, guest_value(record));
  return domain::StorageRecord{
      .ns = record.ns, .key = record.key, .value = std::move(value), .revision = record.revision};
}

/// Errors of the database are none of a guest's business.
Error guest_error(Error error) {
  if (error.code.starts_with("storage.")) return error;
  return Error{Kind::unavailable, "storage.unavailable", "the storage is not available", 1};
}

/// Runs `work` on the pool and answers through `done`, also when the pool is full.
template <class T, class Work>
void answer_from(async::BlockingPool& pool, Callback<T> done, Work work) {
  auto shared = std::make_shared<Callback<T>>(std::move(done));
  bool queued = pool.submit([shared, work = std::move(work)]() mutable {
    Result<T> outcome = work();
    if (!outcome) outcome = fail(guest_error(std::move(outcome).error()));
    (*shared)(std::move(outcome));
  });
  if (!queued) {
    (*shared)(fail(Error{Kind::unavailable, "storage.unavailable", "the storage is busy", 1}));
  }
}

}  // namespace

void SqlExtensionStorage::get(domain::StorageScope scope, std::string ns, std::string key,
                              Callback<domain::StorageRecord> done) {
  answer_from<domain::StorageRecord>(*core_.deps().blocking, std::move(done),
                                     [this, scope = std::move(scope), ns = std::move(ns),
                                      key = std::move(key)]() -> Result<domain::StorageRecord> {
                                       TRY(StoredRecord record, records_.get(scope, ns, key));
                                       return for_guest(record);
                                     });
}

void SqlExtensionStorage::put(domain::StorageScope scope, domain::StoragePut put,
                              Callback<std::uint64_t> done) {
  answer_from<std::uint64_t>(
      *core_.deps().blocking, std::move(done),
      [this, scope = std::move(scope), put = std::move(put)]() -> Result<std::uint64_t> {
        StorageWrite write{.ns = put.ns,
                           .key = put.key,
                           .encoding = StorageEncoding::bytes,
                           .value = put.value,
                           .condition = put.condition,
                           .ttl_seconds = put.ttl_seconds};
        TRY(StoredRecord record, records_.put(scope, write));
        return record.revision;
      });
}

void SqlExtensionStorage::remove(domain::StorageScope scope, std::string ns, std::string key,
                                 domain::WriteCondition condition, Callback<void> done) {
  answer_from<void>(*core_.deps().blocking, std::move(done),
                    [this, scope = std::move(scope), ns = std::move(ns), key = std::move(key),
                     condition]() -> Status { return records_.remove(scope, ns, key, condition); });
}

void SqlExtensionStorage::list(domain::StorageScope scope, domain::StorageList list,
                               Callback<domain::StoragePage> done) {
  answer_from<domain::StoragePage>(
      *core_.deps().blocking, std::move(done),
      [this, scope = std::move(scope), list = std::move(list)]() -> Result<domain::StoragePage> {
        TRY(StorageListing listing, records_.list(scope, list));
        domain::StoragePage page;
        for (const StoredRecord& record : listing.records) {
          TRY(domain::StorageRecord one, for_guest(record));
          page.records.push_back(std::move(one));
        }
        page.next_cursor = std::move(listing.next_cursor);
        return page;
      });
}

}  // namespace alga::control_plane
