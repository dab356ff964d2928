#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "domain/ports/records.h"
#include "domain/ports/storage.h"

// The engine stores and reports through the control plane, and the control plane compiles through
// the engine: the engine is built first, with ports whose target comes later.

namespace alga::app {

/// Storage that exists once the control plane does.
struct StorageDoor final : domain::ExtensionStorage {
  domain::ExtensionStorage* target = nullptr;
  template <class T>
  bool closed(Callback<T>& done) const {
    if (target != nullptr) return false;
    done(fail(Kind::unavailable, "storage.unavailable", "no storage in this process"));
    return true;
  }
  void get(domain::StorageScope scope, std::string ns, std::string key,
           Callback<domain::StorageRecord> done) override {
    if (!closed(done))
      target->get(std::move(scope), std::move(ns), std::move(key), std::move(done));
  }
  void put(domain::StorageScope scope, domain::StoragePut put,
           Callback<std::uint64_t> done) override {
    if (!closed(done)) target->put(std::move(scope), std::move(put), std::move(done));
  }
  void remove(domain::StorageScope scope, std::string ns, std::string key,
              domain::WriteCondition condition, Callback<void> done) override {
    if (!closed(done)) {
      target->remove(std::move(scope), std::move(ns), std::move(key), condition, std::move(done));
    }
  }
  void list(domain::StorageScope scope, domain::StorageList list,
            Callback<domain::StoragePage> done) override {
    if (!closed(done)) target->list(std::move(scope), std::move(list), std::move(done));
  }
};

/// Records go to the control plane of this process, else to the spool.
struct RecordsDoor final : domain::RecordSink {
  domain::RecordSink* target = nullptr;
  void execution(domain::ExecutionRecord record) noexcept override {
    if (target != nullptr) target->execution(std::move(record));
  }
  void guest_log(domain::GuestLogLine line) noexcept override {
    if (target != nullptr) target->guest_log(std::move(line));
  }
  void capability(domain::CapabilityEvent event) noexcept override {
    if (target != nullptr) target->capability(std::move(event));
  }
};

}  // namespace alga::app
