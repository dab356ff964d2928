#include "blob/http_bundle_store.h"

#include "blob/layout.h"

namespace alga::blob {
namespace {

constexpr std::chrono::milliseconds kProbeTimeout{2'000};

Status check_key(std::string_view key) {
  if (is_object_key(key)) return {};
  return fail(Kind::invalid, "blob.invalid_key", "not an object key");
}

Status read_only(std::string_view key) {
  TRY_VOID(check_key(key));
  return fail(Kind::denied, "blob.denied", "a plain HTTP bundle store is read-only");
}

}  // namespace

HttpBundleStore::HttpBundleStore(std::string base, ObjectTransport& transport, RetryPolicy retries)
    : base_(std::move(base)), transport_(transport), retries_(std::move(retries)) {
  if (!base_.ends_with('/')) base_ += '/';
}

ObjectRequest HttpBundleStore::request(std::string method, std::string_view key) const {
  return {.method = std::move(method), .url = base_ + std::string(key), .headers = {}};
}

Status HttpBundleStore::get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) {
  TRY_VOID(check_key(key));
  TRY(const ObjectResponse answer,
      send_with_retries(
          transport_, [&] { return request("GET", key); }, retries_, max_bytes, std::move(sink)));
  if (answer.status == 200) return {};
  return fail(remote_error(answer));
}

Status HttpBundleStore::put_file(std::string_view key, const std::string& /*path*/) {
  return read_only(key);
}

Status HttpBundleStore::remove(std::string_view key) { return read_only(key); }

Result<bool> HttpBundleStore::exists(std::string_view key) {
  TRY_VOID(check_key(key));
  TRY(const ObjectResponse answer,
      send_with_retries(transport_, [&] { return request("HEAD", key); }, retries_, 0, discard()));
  if (answer.status == 200) return true;
  const Error error = remote_error(answer);
  if (error.code == "blob.not_found") return false;
  return fail(error);
}

Status HttpBundleStore::probe() {
  ObjectRequest probe = request("HEAD", "");
  probe.timeout = kProbeTimeout;
  domain::ByteSink sink = discard();
  TRY(const ObjectResponse answer, transport_.send(probe, 0, sink));
  if (answer.status < 500) return {};
  return fail(remote_error(answer));
}

}  // namespace alga::blob
