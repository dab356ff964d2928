// What a guest may ask of its host: each call is counted, judged by the capability of its
// interface, and answered now or handed to a port.

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "engine/execution.h"
#include "engine/redaction.h"

namespace alga::engine {
namespace {

using domain::Capability;
using domain::EndClass;

struct Operation {
  Capability capability;
  std::string_view name;
};

std::optional<Operation> operation_of(ab_op op) {
  switch (op) {
    case AB_OP_CONTEXT_GET:
    case AB_OP_CONTEXT_REMAINING: return Operation{Capability::context_read, "context"};
    case AB_OP_CONFIG_GET:
    case AB_OP_CONFIG_ENTRIES: return Operation{Capability::config_read, "config"};
    case AB_OP_SECRET_GET:
    case AB_OP_SECRET_KEYS: return Operation{Capability::secrets_get, "secrets"};
    case AB_OP_HTTP_FETCH: return Operation{Capability::http_fetch, "http"};
    case AB_OP_STORAGE_GET:
    case AB_OP_STORAGE_PUT:
    case AB_OP_STORAGE_DELETE:
    case AB_OP_STORAGE_LIST: return Operation{Capability::storage_kv, "storage"};
    case AB_OP_UI_CALL: return Operation{Capability::ui_proxy, "ui-proxy"};
    case AB_OP_USER_GET: return Operation{Capability::user_read, "user"};
    case AB_OP_UNOFFERED: break;
  }
  return std::nullopt;
}

std::string_view operation_name(ab_op op) {
  switch (op) {
    case AB_OP_STORAGE_GET: return "storage.get";
    case AB_OP_STORAGE_PUT: return "storage.put";
    case AB_OP_STORAGE_DELETE: return "storage.delete";
    default: return "storage.list";
  }
}

ab_err http_error(std::string_view code) {
  if (code == "egress.denied") return AB_ERR_DENIED;
  if (code == "egress.invalid_url" || code == "egress.invalid_request") return AB_ERR_INVALID;
  if (code == "egress.timeout") return AB_ERR_TIMEOUT;
  if (code == "egress.too_large" || code == "egress.too_many_headers" ||
      code == "egress.headers_too_large") {
    return AB_ERR_TOO_LARGE;
  }
  if (code == "egress.transport" || code == "egress.cancelled") return AB_ERR_TRANSPORT;
  if (code == "egress.overloaded") return AB_ERR_LIMIT;
  return AB_ERR_INTERNAL;
}

/// The limit that a request ran into, empty for none.
std::string_view limit_of_fetch(std::string_view code) {
  if (code == "egress.too_large") return "fetch_response";
  if (code == "egress.too_many_headers") return "header_count";
  if (code == "egress.headers_too_large") return "header_bytes";
  return code == "egress.timeout" ? "fetch_time" : "";
}

ab_err storage_error(std::string_view code) {
  if (code == "storage.missing") return AB_ERR_MISSING;
  if (code == "storage.conflict") return AB_ERR_CONFLICT;
  if (code == "storage.invalid" || code == "storage.schema_violation" ||
      code == "storage.too_large") {
    return AB_ERR_INVALID;
  }
  if (code == "storage.quota") return AB_ERR_QUOTA;
  if (code == "storage.denied") return AB_ERR_DENIED;
  return AB_ERR_INTERNAL;
}

ab_err route_error(std::string_view code) {
  if (code == "ui_proxy.denied") return AB_ERR_DENIED;
  if (code == "ui_proxy.route_not_found") return AB_ERR_MISSING;
  if (code == "ui_proxy.bad_request") return AB_ERR_INVALID;
  return AB_ERR_INTERNAL;
}

/// Charges bytes that go to the guest; false when that was too much.
bool charge(Ledger& ledger, std::uint64_t bytes, std::uint64_t most) {
  if (ledger.host_bytes.fetch_add(bytes) + bytes <= most) return true;
  ledger.too_many_bytes.store(true);
  return false;
}

/// Bytes that a guest hands over with a call.
std::uint64_t weight(const ab_host_request& request) {
  std::uint64_t bytes = request.key.len + request.body.len;
  if (const ab_http_request* http = request.http; http != nullptr) {
    bytes += http->method.len + http->url.len + http->body.len;
    for (const ab_pair& header : std::span(http->headers, http->n_headers)) {
      bytes += header.name.len + header.value.len;
    }
  }
  if (const ab_storage_request* storage = request.storage; storage != nullptr) {
    bytes += storage->ns.len + storage->key.len + storage->value.len + storage->cursor.len;
  }
  return bytes;
}

/// Bytes that a guest gets with a record.
std::uint64_t weight(const domain::StorageRecord& record) {
  return record.ns.size() + record.key.size() + record.value.size();
}

ab_storage_entry entry_of(const domain::StorageRecord& record) {
  return {to_ab(record.ns), to_ab(record.key), to_ab_view(record.value), record.revision};
}

domain::WriteCondition condition_of(const ab_storage_request& request) {
  using Kind = domain::WriteCondition::Kind;
  switch (request.condition) {
    case AB_CREATE_ONLY: return {Kind::create_only, 0};
    case AB_REVISION: return {Kind::revision, request.revision};
    case AB_ALWAYS: break;
  }
  return {};
}

constexpr std::uint32_t default_page = 25;
constexpr std::uint32_t longest_page = 100;
/// Denials of one execution that get a line in the log; each counts in the metric.
constexpr std::uint32_t most_denial_lines = 20;
/// Values of one execution that a schema refused and whose author is told why.
constexpr std::uint32_t most_refusal_lines = 20;
constexpr std::string_view too_many_bytes_text = "too many bytes through host calls";

}  // namespace

int Execution::on_call(const ab_host_request& request, ab_call* call) noexcept {
  if (stop_reason_) return 1;
  if (++calls_ > shared_.max_host_calls) {
    return stop_guest(EndClass::hostcall_limit, "host_calls",
                      "more than " + std::to_string(shared_.max_host_calls) + " host calls");
  }
  if (request.op == AB_OP_UNOFFERED) {
    note_denial("denied", view(request.key), "not offered by this operator");
    return 0;
  }
  ledger_->egress_denied = false;
  if (!charge(*ledger_, weight(request), shared_.max_host_bytes)) {
    return stop_guest(EndClass::hostcall_limit, "host_bytes", std::string(too_many_bytes_text));
  }
  std::optional<Operation> operation = operation_of(request.op);
  if (!operation) return stop_guest(EndClass::platform, "", "unknown host call");
  if (!allowed(operation->capability, operation->name)) {
    if (operation->capability == Capability::context_read) {
      return stop_guest(EndClass::capability_denied, "", "cap:context.read is not granted");
    }
    ab_call_err(call, AB_ERR_DENIED);
    return 0;
  }
  answer(call, request);
  return stop_reason_ ? 1 : 0;
}

void Execution::answer(ab_call* call, const ab_host_request& request) {
  switch (request.op) {
    case AB_OP_CONTEXT_GET: return get_context(call);
    case AB_OP_CONTEXT_REMAINING: {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline_ - std::chrono::steady_clock::now());
      return ab_call_ok_u64(call,
                            static_cast<std::uint64_t>(std::max<std::int64_t>(0, left.count())));
    }
    case AB_OP_CONFIG_GET: return get_config(call, view(request.key));
    case AB_OP_CONFIG_ENTRIES: return get_config_entries(call);
    case AB_OP_SECRET_GET: return get_secret(call, view(request.key));
    case AB_OP_SECRET_KEYS: return get_secret_names(call);
    case AB_OP_HTTP_FETCH: return fetch(call, *request.http);
    case AB_OP_STORAGE_GET:
    case AB_OP_STORAGE_PUT:
    case AB_OP_STORAGE_DELETE:
    case AB_OP_STORAGE_LIST: return call_storage(call, request);
    case AB_OP_UI_CALL: return call_route(call, request);
    case AB_OP_USER_GET: return get_user(call);
    case AB_OP_UNOFFERED: break;
  }
  ab_call_err(call, AB_ERR_INTERNAL);
}

bool Execution::allowed(Capability capability, std::string_view target) {
  if (invocation_.capabilities.contains(capability)) return true;
  note_denial("denied", target, domain::name(capability));
  return false;
}

void Execution::note_denial(std::string_view kind, std::string_view target,
                            std::string_view reason) {
  const bool egress = kind == "egress_denied";
  shared_.count_denial(egress ? "egress" : "capability");
  if (egress) ledger_->egress_denied = true;
  const std::string shown = printable(target.substr(0, 200));
  if (ledger_->denials++ < most_denial_lines) {
    shared_.use.log.info(egress ? "egress denied" : "capability denied",
                         {{"target", shown},
                          {"reason", reason},
                          {"tenant", invocation_.who.tenant},
                          {"extension", invocation_.who.extension},
                          {"request_id", invocation_.who.request_id}});
  }
  record_event({kind, target.substr(0, 200), shown, std::string(reason)});
}

void Execution::record_event(const CapabilityEvents::Event& event) {
  if (shared_.use.records == nullptr) return;
  ledger_->events.note(event, [this](std::string kind, std::string target, std::string reason) {
    shared_.use.records->capability({invocation_.who, shared_.use.clock->wall(), std::move(kind),
                                     std::move(target), std::move(reason)});
  });
}

void Execution::explain_refusal(const std::string& place, const Error& error) {
  const bool misfit = error.code == "storage.schema_violation";
  const bool limit = error.code == "storage.too_large" || error.code == "storage.quota";
  if (!misfit && !limit) return;
  if (shared_.use.records == nullptr || ledger_->refused_writes++ >= most_refusal_lines) return;
  shared_.use.records->guest_log(
      {invocation_.who, shared_.use.clock->wall(), LogLevel::warn, "log",
       "storage: " + place + " was not written" +
           (misfit ? ", as it does not fit the schema of its namespace: " : ": ") +
           printable(error.message)});
}

bool Execution::drawn() const {
  const double fraction = shared_.options.capability_log_sampling;
  if (fraction <= 0 || fraction >= 1) return fraction > 0;
  std::uint8_t bytes[3];
  shared_.use.random->fill(bytes);
  return (bytes[0] << 16U | bytes[1] << 8U | bytes[2]) / 16777216.0 < fraction;
}

void Execution::trace_call(std::string_view operation, std::string_view target) const {
  shared_.use.log.info("capability used", {{"operation", operation},
                                           {"target", target},
                                           {"tenant", invocation_.who.tenant},
                                           {"extension", invocation_.who.extension},
                                           {"request_id", invocation_.who.request_id}});
}

int Execution::on_log(ab_log_level level, std::string_view message) noexcept {
  if (stop_reason_) return 1;
  if (++calls_ > shared_.max_host_calls) {
    return stop_guest(EndClass::hostcall_limit, "host_calls", "too many host calls");
  }
  if (!charge(*ledger_, message.size(), shared_.max_host_bytes)) {
    return stop_guest(EndClass::hostcall_limit, "host_bytes", std::string(too_many_bytes_text));
  }
  if (!invocation_.capabilities.contains(Capability::log_emit)) {
    // One record for all of its lines: a guest may log in a loop, and none of them is any news.
    if (!std::exchange(log_denied_, true)) {
      note_denial("denied", "logging", domain::name(Capability::log_emit));
    } else {
      shared_.count_denial("capability");
    }
    return 0;
  }
  LogLevel as = level == AB_LOG_DEBUG  ? LogLevel::debug
                : level == AB_LOG_WARN ? LogLevel::warn
                : level == AB_LOG_INFO ? LogLevel::info
                                       : LogLevel::error;
  log_.line(as, message);
  return 0;
}

int Execution::on_stdio(int fd, std::string_view bytes) noexcept {
  if (stop_reason_) return 1;
  log_.stdio(fd, bytes);
  return 0;
}

void Execution::on_abandoned(std::uint64_t call_id) noexcept {
  Pending pending{};
  {
    std::lock_guard lock(pending_mutex_);
    auto found = pending_.find(call_id);
    if (found == pending_.end()) return;
    pending = found->second;
    pending_.erase(found);
  }
  if (pending.op == AB_OP_UI_CALL) return shared_.use.ui_proxy->cancel(pending.id);
  shared_.use.egress->cancel(pending.id);
}

void Execution::remember(std::uint64_t call_id, Pending pending) {
  std::lock_guard lock(pending_mutex_);
  pending_.emplace(call_id, pending);
}

void Execution::get_context(ab_call* call) {
  if (drawn()) trace_call("context.get", "");
  const domain::ExecuteRequest& asked = invocation_.request;
  ab_context context{};
  context.request_id = to_ab(asked.request_id);
  context.has_request_id = 1;
  context.tenant_id = to_ab(asked.tenant.str());
  context.extension_id = to_ab(asked.extension.str());
  if (asked.install) {
    context.install_id = to_ab(asked.install->str());
    context.has_install_id = 1;
  }
  if (asked.version) {
    context.version_id = to_ab(asked.version->str());
    context.has_version_id = 1;
  }
  const std::uint64_t bytes = context.request_id.len + context.tenant_id.len +
                              context.extension_id.len + context.install_id.len +
                              context.version_id.len;
  if (!pay(call, bytes)) return;
  ab_call_ok_context(call, &context);
}

bool Execution::pay(ab_call* call, std::uint64_t bytes) {
  if (charge(*ledger_, bytes, shared_.max_host_bytes)) return true;
  ab_call_abort(call, to_ab(too_many_bytes_text));
  return false;
}

void Execution::get_config(ab_call* call, std::string_view key) {
  if (drawn()) trace_call("config.get", redact(printable(key.substr(0, 200))));
  const auto& config = invocation_.request.config;
  auto found = config.find(std::string(key));
  if (found == config.end()) return ab_call_ok_none(call);
  if (!pay(call, found->second.size())) return;
  ab_call_ok_string(call, give(found->second));
}

void Execution::get_config_entries(ab_call* call) {
  if (drawn()) trace_call("config.entries", "");
  std::vector<ab_pair> pairs;
  std::uint64_t bytes = 0;
  for (const auto& [key, value] : invocation_.request.config) {
    pairs.push_back({to_ab(key), to_ab(value)});
    bytes += key.size() + value.size();
  }
  if (!pay(call, bytes)) return;
  ab_call_ok_pairs(call, pairs.data(), pairs.size());
}

void Execution::get_secret(ab_call* call, std::string_view key) {
  const std::string name = redact(printable(key.substr(0, 200)));
  std::optional<std::string_view> value;
  if (invocation_.secrets) value = invocation_.secrets->reveal(key);
  record_event({"secret_read", key.substr(0, 200), name, value ? "given" : "missing"});
  if (drawn()) trace_call("secrets.get", name);
  if (!value) return ab_call_err(call, AB_ERR_MISSING);
  if (!pay(call, value->size())) return;
  // The value stays in locked memory until the bridge copies it into the guest.
  auto* keep = new std::shared_ptr<const domain::SecretMap>(invocation_.secrets);
  ab_call_ok_string(call, {reinterpret_cast<const std::uint8_t*>(value->data()), value->size(),
                           [](void* owned) {
                             delete static_cast<std::shared_ptr<const domain::SecretMap>*>(owned);
                           },
                           keep});
}

void Execution::get_secret_names(ab_call* call) {
  if (drawn()) trace_call("secrets.list-keys", "");
  std::vector<ab_pair> pairs;
  std::uint64_t bytes = 0;
  if (invocation_.secrets) {
    for (std::string_view name : invocation_.secrets->names()) {
      pairs.push_back({to_ab(name), {}});
      bytes += name.size();
    }
  }
  if (!pay(call, bytes)) return;
  ab_call_ok_pairs(call, pairs.data(), pairs.size());
}

void Execution::get_user(ab_call* call) {
  if (drawn()) trace_call("user.get", "");
  const std::optional<domain::UserIdentity>& user = invocation_.request.user;
  if (!user) return ab_call_err(call, AB_ERR_MISSING);
  std::vector<ab_pair> fields;
  std::uint64_t bytes = 0;
  for (const auto& [name, value] : user->additional_fields) {
    fields.push_back({to_ab(name), to_ab(value)});
    bytes += name.size() + value.size();
  }
  ab_user out{};
  out.tenant_id = to_ab(invocation_.tenant.str());
  out.client_name = to_ab(user->client_name);
  out.user_id = to_ab(user->user_id);
  out.user_email = to_ab(user->user_email);
  out.user_name = to_ab(user->user_name);
  out.user_type = to_ab(user->user_type);
  if (user->client_id) {
    out.client_id = to_ab(*user->client_id);
    out.has_client_id = 1;
  }
  out.additional = fields.data();
  out.n_additional = fields.size();
  for (const ab_str& text : {out.tenant_id, out.client_name, out.user_id, out.user_email,
                             out.user_name, out.user_type, out.client_id}) {
    bytes += text.len;
  }
  if (!pay(call, bytes)) return;
  ab_call_ok_user(call, &out);
}

void Execution::fetch(ab_call* call, const ab_http_request& request) {
  if (++fetches_ > shared_.max_fetches) {
    hit("fetch_calls");
    return ab_call_err(call, AB_ERR_LIMIT);
  }
  std::string target = redact_url(view(request.url));
  if (drawn()) trace_call("http.fetch", target);
  if (shared_.use.egress == nullptr || invocation_.egress == nullptr) {
    note_denial("egress_denied", target, "no egress policy");
    return ab_call_err(call, AB_ERR_DENIED);
  }
  domain::EgressRequest out;
  out.http.method = view(request.method);
  out.http.url = view(request.url);
  for (std::size_t i = 0; i < request.n_headers; ++i) {
    out.http.headers.push_back(
        {std::string(view(request.headers[i].name)), std::string(view(request.headers[i].value))});
  }
  if (request.has_body != 0) out.http.body.emplace(view(request.body));
  out.policy = invocation_.egress;
  out.partition =
      invocation_.tenant.str() + '/' + invocation_.who.install + '/' + invocation_.egress->digest();
  out.deadline = std::min(deadline_, std::chrono::steady_clock::now() + shared_.max_fetch_time);
  out.max_response_bytes = shared_.max_fetch_response;
  out.header_limits = shared_.fetch_header_limits;
  out.depth = invocation_.request.depth + 1;
  ledger_->egress_bytes += out.http.body ? out.http.body->size() : 0;

  std::uint64_t call_id = ab_call_id(call);
  auto self = std::static_pointer_cast<Execution>(shared_from_this());
  auto done = [call, self, ledger = ledger_, target,
               most = shared_.max_host_bytes](Result<domain::HttpResponse> answer) mutable {
    if (!answer) {
      if (answer.error().code == "egress.denied") {
        self->note_denial("egress_denied", target, answer.error().message);
      }
      if (const std::string_view limit = limit_of_fetch(answer.error().code); !limit.empty()) {
        self->hit(limit);
      }
      return ab_call_err(call, http_error(answer.error().code));
    }
    std::uint64_t bytes = answer->body ? answer->body->size() : 0;
    ledger->egress_bytes += bytes;
    for (const domain::Header& header : answer->headers) {
      bytes += header.name.size() + header.value.size();
    }
    if (!charge(*ledger, bytes, most)) {
      return ab_call_abort(call, to_ab(too_many_bytes_text));
    }
    std::vector<ab_pair> headers;
    for (const domain::Header& header : answer->headers) {
      headers.push_back({to_ab(header.name), to_ab(header.value)});
    }
    ab_http_response response{answer->status, headers.data(), headers.size(),
                              give(answer->body ? std::move(*answer->body) : std::string())};
    ab_call_ok_http(call, &response);
  };
  std::uint64_t id = shared_.use.egress->fetch(std::move(out), std::move(done));
  remember(call_id, {AB_OP_HTTP_FETCH, id});
}

void Execution::call_storage(ab_call* call, const ab_host_request& asked) {
  const ab_storage_request& request = *asked.storage;
  domain::ExtensionStorage* storage = shared_.use.storage;
  if (storage == nullptr || !invocation_.install) {
    note_denial("denied", "storage", storage == nullptr ? "no storage is offered" : "no install");
    return ab_call_err(call, AB_ERR_DENIED);
  }
  if (drawn()) {
    trace_call(operation_name(asked.op), redact_path(view(request.ns).substr(0, 128)) + '/' +
                                             redact(printable(view(request.key).substr(0, 300))));
  }
  domain::StorageScope scope{invocation_.tenant, *invocation_.install,
                             invocation_.request.grant.value_or("")};
  std::string ns(view(request.ns));
  std::string key(view(request.key));
  auto failed = [call](const Error& error) { ab_call_err(call, storage_error(error.code)); };
  auto too_much = [ledger = ledger_, call, most = shared_.max_host_bytes](std::uint64_t bytes) {
    if (charge(*ledger, bytes, most)) return false;
    ab_call_abort(call, to_ab(too_many_bytes_text));
    return true;
  };
  switch (asked.op) {
    case AB_OP_STORAGE_GET:
      return storage->get(scope, std::move(ns), std::move(key),
                          [=](Result<domain::StorageRecord> record) {
                            if (!record) return failed(record.error());
                            if (too_much(weight(*record))) return;
                            ab_storage_entry entry = entry_of(*record);
                            ab_call_ok_entry(call, &entry);
                          });
    case AB_OP_STORAGE_PUT: {
      domain::StoragePut put{std::move(ns), std::move(key), std::string(view(request.value)),
                             condition_of(request), std::nullopt};
      if (request.has_ttl != 0) put.ttl_seconds = request.ttl_seconds;
      auto self = std::static_pointer_cast<Execution>(shared_from_this());
      const std::string place = printable(view(request.ns).substr(0, 128)) + '/' +
                                printable(view(request.key).substr(0, 300));
      return storage->put(scope, std::move(put), [=](Result<std::uint64_t> revision) {
        if (revision) return ab_call_ok_u64(call, *revision);
        const Error& error = revision.error();
        self->explain_refusal(place, error);
        failed(error);
      });
    }
    case AB_OP_STORAGE_DELETE:
      return storage->remove(scope, std::move(ns), std::move(key), condition_of(request),
                             [=](Status removed) {
                               if (!removed) return failed(removed.error());
                               ab_call_ok_none(call);
                             });
    default: {
      // The unversioned interface cannot say that there is more, so its page is as long as can be.
      std::uint32_t page_size = asked.via == AB_VIA_COMPAT ? longest_page : default_page;
      domain::StorageList list{std::move(ns), std::move(key), std::string(view(request.cursor)),
                               request.limit == 0 ? page_size : request.limit};
      return storage->list(scope, std::move(list), [=](Result<domain::StoragePage> page) {
        if (!page) return failed(page.error());
        std::vector<ab_storage_entry> entries;
        std::uint64_t bytes = 0;
        for (const domain::StorageRecord& record : page->records) {
          bytes += weight(record);
          entries.push_back(entry_of(record));
        }
        std::string next = page->next_cursor.value_or("");
        if (too_much(bytes + next.size())) return;
        ab_call_ok_page(call, entries.data(), entries.size(), to_ab(next),
                        page->next_cursor ? 1 : 0);
      });
    }
  }
}

void Execution::call_route(ab_call* call, const ab_host_request& asked) {
  if (shared_.use.ui_proxy == nullptr) return ab_call_err(call, AB_ERR_MISSING);
  // As a host application would put it: 429 and 413.
  if (++fetches_ > shared_.max_fetches) {
    hit("fetch_calls");
    return ab_call_err(call, AB_ERR_DENIED);
  }
  if (asked.body.len > shared_.max_ui_payload) {
    hit("ui_payload");
    return ab_call_err(call, AB_ERR_INVALID);
  }
  const std::string_view route = view(asked.key);
  if (drawn()) {
    trace_call("ui-proxy.call-route", redact_path(route.substr(0, route.find_first_of("?#"))));
  }
  UiProxy::Call out{
      invocation_.who,
      std::string(route),
      asked.has_body != 0 ? std::optional(std::string(view(asked.body))) : std::nullopt,
      invocation_.request.user,
      invocation_.secrets,
      std::min(deadline_, std::chrono::steady_clock::now() + shared_.max_fetch_time),
      shared_.max_fetch_response,
      invocation_.request.depth + 1};
  const std::uint64_t call_id = ab_call_id(call);
  auto self = std::static_pointer_cast<Execution>(shared_from_this());
  const std::uint64_t id = shared_.use.ui_proxy->call(
      std::move(out),
      [call, self, ledger = ledger_, most = shared_.max_host_bytes](Result<std::string> answer) {
        if (!answer) {
          if (answer.error().code == "ui_proxy.too_large") self->hit("fetch_response");
          return ab_call_err(call, route_error(answer.error().code));
        }
        if (!charge(*ledger, answer->size(), most)) {
          return ab_call_abort(call, to_ab(too_many_bytes_text));
        }
        ab_call_ok_bytes(call, give(std::move(*answer)));
      });
  remember(call_id, {AB_OP_UI_CALL, id});
}

}  // namespace alga::engine
