#include "runner/storage_client.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "json/decode.h"

namespace alga::runner {
namespace {

using domain::StorageRecord;
using domain::StorageScope;

/// A page of a hundred records of 64 KiB in base64, their metadata and the frame around them.
constexpr std::uint64_t longest_answer = 16U << 20U;
constexpr std::string_view bytes_mark = "base64-bytes";

std::unexpected<Error> unavailable(std::string why) {
  return fail({Kind::unavailable, "storage.unavailable", std::move(why), 1});
}

Result<egress::ClientRequest> prepare(const ControlPlaneLink& link, const StorageScope& scope,
                                      const boost::json::object& body) {
  egress::ClientRequest request{
      .method = "POST",
      .url = link.url + "/api/internal/ext-storage/install/" + scope.install.str(),
      .headers = {{"content-type", "application/json"},
                  {"accept", "application/json"},
                  {"x-alga-tenant", scope.tenant.str()}},
      .body = boost::json::serialize(body),
      .timeout = link.timeout,
      .max_response_bytes = longest_answer,
      .tls = link.tls};
  if (!scope.grant.empty()) {
    request.headers.push_back({"x-alga-grant", scope.grant});
    return request;
  }
  TRY(const Secret token, link.token());
  if (token.empty()) return fail(Kind::denied, "storage.denied", "no grant and no token");
  request.headers.push_back({"x-runner-auth", std::string(token.reveal())});
  return request;
}

std::string text_of(const boost::json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

/// What the other side says of a refusal; empty where it says nothing.
struct Refusal {
  std::string code, detail, message;  ///< `detail`: `details.code`, from our control plane
};

Refusal read_refusal(const domain::HttpResponse& response) {
  const auto document = json::parse(response.body.value_or(""), {.max_bytes = 64U << 10U});
  if (!document || !document->is_object()) return {};
  const boost::json::object& root = document->get_object();
  const auto* details = root.if_contains("details");
  const bool detailed = details != nullptr && details->is_object();
  return {.code = text_of(root, "code"),
          .detail = detailed ? text_of(details->get_object(), "code") : std::string(),
          .message = text_of(root, "error")};
}

std::unexpected<Error> refused(const domain::HttpResponse& response) {
  const std::string said = "the storage answered " + std::to_string(response.status);
  const Refusal refusal = read_refusal(response);
  switch (response.status) {
    case 400:
      if (refusal.detail == "storage.schema_violation") {
        return fail(Kind::invalid, "storage.schema_violation", refusal.message);
      }
      return fail(Kind::invalid, "storage.invalid", said);
    case 401:
    case 403: return fail(Kind::denied, "storage.denied", said);
    case 404: return fail(Kind::not_found, "storage.missing", said);
    case 409: return fail(Kind::conflict, "storage.conflict", said);
    case 429:
      if (refusal.code == "QUOTA_EXCEEDED") return fail(Kind::rate_limited, "storage.quota", said);
      return fail(Kind::denied, "storage.denied", said);
    default: return unavailable(said);
  }
}

/// Of a value that was not written by an extension, the same text that the SQL storage gives.
std::string guest_text(const boost::json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_object()) {
    const auto* spelled = value.get_object().if_contains("_bytes_b64");
    if (spelled != nullptr && spelled->is_string()) {
      if (auto bytes = base64_decode(spelled->get_string())) return std::move(*bytes);
    }
  }
  return boost::json::serialize(value);
}

Result<std::string> value_of(json::Object& object) {
  const json::Value* value = object.raw("value");
  if (value == nullptr) return unavailable("the storage's answer has no value");
  TRY(auto metadata, object.optional_object("metadata"));
  if (metadata && value->is_string()) {
    const json::Value* encoding = metadata->raw("encoding");
    if (encoding != nullptr && encoding->is_string() && encoding->get_string() == bytes_mark) {
      auto bytes = base64_decode(value->get_string());
      if (!bytes) return unavailable("the storage's answer is not base64, as it says");
      return std::move(*bytes);
    }
  }
  return guest_text(*value);
}

Result<std::uint64_t> revision_of(json::Object& object) {
  TRY(std::int64_t revision, object.integer("revision", 0));
  return static_cast<std::uint64_t>(revision);
}

Result<StorageRecord> record_of(json::Object& object) {
  StorageRecord record;
  TRY(record.ns, object.string("namespace"));
  TRY(record.key, object.string("key"));
  TRY(record.revision, revision_of(object));
  TRY(record.value, value_of(object));
  return record;
}

Result<domain::StoragePage> page_of(json::Object& root) {
  domain::StoragePage page;
  TRY(auto items, root.objects("items", 1'000));
  for (json::Object& item : items) {
    TRY(StorageRecord record, record_of(item));
    page.records.push_back(std::move(record));
  }
  TRY(page.next_cursor, root.optional_string("nextCursor"));
  if (page.next_cursor && page.next_cursor->empty()) page.next_cursor.reset();
  return page;
}

/// Missing records are `success: false`.
Status removed(json::Object& root) {
  TRY(bool success, root.boolean("success"));
  if (success) return {};
  return fail(Kind::not_found, "storage.missing", "there is no such record");
}

template <class T, class Read>
Result<T> read_answer(const Result<domain::HttpResponse>& response, const Read& read) {
  if (!response) return unavailable(std::string(response.error().code));
  if (response->status < 200 || response->status > 299) return refused(*response);
  auto document = json::Document::parse(response->body.value_or(""), {.max_bytes = longest_answer});
  if (!document) return unavailable("the storage's answer is not JSON");
  json::Object root = document->root();
  Result<T> outcome = read(root);
  if (!outcome && outcome.error().code.starts_with("json.")) {
    return unavailable(outcome.error().message);
  }
  return outcome;
}

template <class T, class Read>
void ask(egress::HttpClient& client, const ControlPlaneLink& link, const StorageScope& scope,
         const boost::json::object& body, Callback<T> done, Read read) {
  auto request = prepare(link, scope, body);
  if (!request) {
    if (request.error().code != "storage.denied") {
      request = unavailable(std::string(request.error().code));
    }
    return done(fail(std::move(request).error()));
  }
  client.send(std::move(*request),
              [done = std::move(done), read](Result<domain::HttpResponse> response) mutable {
                done(read_answer<T>(response, read));
              });
}

boost::json::object operation(std::string_view name, const std::string& ns) {
  return {{"operation", name}, {"namespace", ns}};
}

void add_condition(boost::json::object& body, const domain::WriteCondition& condition) {
  using Kind = domain::WriteCondition::Kind;
  if (condition.kind == Kind::create_only) body["ifRevision"] = 0;
  if (condition.kind == Kind::revision) body["ifRevision"] = condition.revision;
}

/// Operators of the earlier system give the address with or without the path of its API.
ControlPlaneLink without_api_path(ControlPlaneLink link) {
  constexpr std::string_view api = "/api";
  if (link.url.ends_with(api)) link.url.resize(link.url.size() - api.size());
  return link;
}

}  // namespace

StorageClient::StorageClient(ControlPlaneLink link, egress::HttpClient& client)
    : link_(without_api_path(std::move(link))), client_(client) {}

void StorageClient::get(StorageScope scope, std::string ns, std::string key,
                        Callback<StorageRecord> done) {
  boost::json::object body = operation("get", ns);
  body["key"] = key;
  ask<StorageRecord>(client_, link_, scope, body, std::move(done), &record_of);
}

void StorageClient::put(StorageScope scope, domain::StoragePut put, Callback<std::uint64_t> done) {
  boost::json::object body = operation("put", put.ns);
  body["key"] = put.key;
  body["value"] = base64_encode(as_bytes(put.value));
  body["metadata"] = {{"encoding", bytes_mark}};
  if (put.ttl_seconds) body["ttlSeconds"] = *put.ttl_seconds;
  add_condition(body, put.condition);
  ask<std::uint64_t>(client_, link_, scope, body, std::move(done), &revision_of);
}

void StorageClient::remove(StorageScope scope, std::string ns, std::string key,
                           domain::WriteCondition condition, Callback<void> done) {
  boost::json::object body = operation("delete", ns);
  body["key"] = key;
  add_condition(body, condition);
  ask<void>(client_, link_, scope, body, std::move(done), &removed);
}

void StorageClient::list(StorageScope scope, domain::StorageList list,
                         Callback<domain::StoragePage> done) {
  boost::json::object body = operation("list", list.ns);
  body["limit"] = list.limit;
  body["includeValues"] = true;
  body["includeMetadata"] = true;
  if (!list.prefix.empty()) body["keyPrefix"] = list.prefix;
  if (!list.cursor.empty()) body["cursor"] = list.cursor;
  ask<domain::StoragePage>(client_, link_, scope, body, std::move(done), &page_of);
}

}  // namespace alga::runner
