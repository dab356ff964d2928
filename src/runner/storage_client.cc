#include "runner/storage_client.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <memory>
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
      if (refusal.detail == "storage.too_large") {
        return fail(Kind::too_large, "storage.too_large", refusal.message);
      }
      return fail(Kind::invalid, "storage.invalid", said);
    case 401:
    case 403: return fail(Kind::denied, "storage.denied", said);
    case 404: return fail(Kind::not_found, "storage.missing", said);
    case 409: return fail(Kind::conflict, "storage.conflict", said);
    case 429:
      if (refusal.code == "QUOTA_EXCEEDED") {
        return fail(Kind::rate_limited, "storage.quota",
                    refusal.message.empty() ? said : refusal.message);
      }
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

std::string cursor_behind(const std::string& key) {
  const std::string position = boost::json::serialize(boost::json::object{{"key", key}});
  return base64url_encode(as_bytes(position));
}

/// A cursor names the last record of its page. That of the earlier system names the first one of
/// the next page, which it then leaves out; the same spelling with the last key is what it should
/// have said. A cursor that names nothing is somebody else's business.
std::string corrected_cursor(std::string cursor, const std::string& last_key) {
  const auto text = base64url_decode(cursor);
  const auto position = text ? json::parse(*text, {.max_bytes = 4096, .max_depth = 2})
                             : Result<json::Value>(json::Value{});
  if (!position || !position->is_object()) return cursor;
  const auto* key = position->get_object().if_contains("key");
  if (key == nullptr || !key->is_string() || key->get_string() == last_key) return cursor;
  return cursor_behind(last_key);
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
  if (page.next_cursor && !page.records.empty()) {
    page.next_cursor = corrected_cursor(*std::move(page.next_cursor), page.records.back().key);
  }
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

/// A request, or an error of the port.
Result<egress::ClientRequest> prepared(const ControlPlaneLink& link, const StorageScope& scope,
                                       const boost::json::object& body) {
  auto request = prepare(link, scope, body);
  if (request || request.error().code == "storage.denied") return request;
  return unavailable(std::string(request.error().code));
}

template <class T, class Read>
void ask(egress::HttpClient& client, const ControlPlaneLink& link, const StorageScope& scope,
         const boost::json::object& body, Callback<T> done, Read read) {
  auto request = prepared(link, scope, body);
  if (!request) return done(fail(std::move(request).error()));
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

boost::json::object put_operation(const domain::StoragePut& put) {
  boost::json::object body = operation("put", put.ns);
  body["key"] = put.key;
  body["value"] = base64_encode(as_bytes(put.value));
  body["metadata"] = {{"encoding", bytes_mark}};
  if (put.ttl_seconds) body["ttlSeconds"] = *put.ttl_seconds;
  add_condition(body, put.condition);
  return body;
}

/// Whether it refused a condition without saying more, as the earlier system does for every record
/// that is not there. Our control plane names the code.
bool is_bare_conflict(const Result<domain::HttpResponse>& response) {
  return response && response->status == 409 && read_refusal(*response).detail.empty();
}

/// As near to "only when there is none" as the earlier API comes: look, write, and see from the
/// revision whether somebody else was faster. Then the write has replaced theirs, but only they are
/// told that they created it.
class CreationByLooking : public std::enable_shared_from_this<CreationByLooking> {
 public:
  CreationByLooking(egress::HttpClient& client, ControlPlaneLink link, StorageScope scope,
                    domain::StoragePut put, Callback<std::uint64_t> done)
      : client_(client),
        link_(std::move(link)),
        scope_(std::move(scope)),
        put_(std::move(put)),
        done_(std::move(done)) {
    put_.condition = {};
  }

  /// Without looking.
  void answer(Result<std::uint64_t> revision) { done_(std::move(revision)); }

  void look() {
    boost::json::object body = operation("get", put_.ns);
    body["key"] = put_.key;
    ask<std::uint64_t>(
        client_, link_, scope_, body,
        [self = shared_from_this()](Result<std::uint64_t> found) {
          if (found) return self->done_(there_already());
          if (found.error().code != "storage.missing") return self->done_(std::move(found));
          self->write();
        },
        &revision_of);
  }

 private:
  static std::unexpected<Error> there_already() {
    return fail(Kind::conflict, "storage.conflict", "there is such a record");
  }
  void write() {
    ask<std::uint64_t>(
        client_, link_, scope_, put_operation(put_),
        [self = shared_from_this()](Result<std::uint64_t> written) {
          if (written && *written != 1) return self->done_(there_already());
          self->done_(std::move(written));
        },
        &revision_of);
  }

  egress::HttpClient& client_;
  const ControlPlaneLink link_;
  const StorageScope scope_;
  domain::StoragePut put_;
  Callback<std::uint64_t> done_;
};

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
  const boost::json::object body = put_operation(put);
  if (put.condition.kind != domain::WriteCondition::Kind::create_only) {
    return ask<std::uint64_t>(client_, link_, scope, body, std::move(done), &revision_of);
  }
  auto request = prepared(link_, scope, body);
  if (!request) return done(fail(std::move(request).error()));
  auto by_looking = std::make_shared<CreationByLooking>(client_, link_, std::move(scope),
                                                        std::move(put), std::move(done));
  client_.send(std::move(*request), [by_looking](const Result<domain::HttpResponse>& response) {
    if (is_bare_conflict(response)) return by_looking->look();
    by_looking->answer(read_answer<std::uint64_t>(response, &revision_of));
  });
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
