#include "runner/execute_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "base/bytes.h"
#include "domain/envelope.h"
#include "domain/limits.h"
#include "json/decode.h"

namespace alga::runner {
namespace {

using domain::ExecuteRequest;

std::unexpected<Error> invalid(std::string_view what) {
  return fail(Kind::invalid, "runner.invalid_request", std::string(what) + " is not valid");
}

template <class T>
Result<std::optional<T>> optional_id(json::Object& object, std::string_view name) {
  TRY(const std::optional<std::string> text, object.optional_string(name, 256));
  if (!text || text->empty()) return std::nullopt;
  const auto id = T::parse(*text);
  if (!id) return invalid(object.path_of(name));
  return id;
}

template <class T>
Result<T> required_id(json::Object& object, std::string_view name) {
  TRY(const std::string text, object.string(name, 256));
  const auto id = T::parse(text);
  if (!id) return invalid(object.path_of(name));
  return *id;
}

Result<std::map<std::string, std::string>> map_of(json::Object& object, std::string_view name) {
  const json::Value* value = object.raw(name);
  if (value == nullptr || value->is_null()) return std::map<std::string, std::string>{};
  return object.string_map(name);
}

void append_encoded(std::string& out, std::string_view text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool plain =
        letter || (c >= '0' && c <= '9') || c == '*' || c == '-' || c == '.' || c == '_';
    if (plain) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += '%';
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
}

std::string url_of(const std::string& path, const std::optional<std::string>& url,
                   const std::map<std::string, std::string>& query) {
  // Callers of the reference put other things into `url`; it counts when it is this very path.
  const bool same = url && path.find('?') == std::string::npos && url->starts_with(path) &&
                    url->size() > path.size() && (*url)[path.size()] == '?';
  std::string out = same ? *url : path;
  if (!out.starts_with('/')) out.insert(0, 1, '/');
  if (same) return out;
  char separator = out.find('?') == std::string::npos ? '?' : '&';
  for (const auto& [name, value] : query) {
    out += std::exchange(separator, '&');
    append_encoded(out, name);
    out += '=';
    append_encoded(out, value);
  }
  return out;
}

Result<domain::Headers> headers_of(json::Object& http) {
  domain::Headers headers;
  if (const json::Value* list = http.raw("header_list"); list != nullptr && list->is_array()) {
    for (const json::Value& pair : list->get_array()) {
      const bool fits = pair.is_array() && pair.get_array().size() == 2 &&
                        pair.get_array()[0].is_string() && pair.get_array()[1].is_string();
      if (!fits) return invalid(http.path_of("header_list"));
      headers.push_back({std::string(pair.get_array()[0].get_string()),
                         std::string(pair.get_array()[1].get_string())});
    }
    return headers;
  }
  TRY(auto map, map_of(http, "headers"));
  for (auto& [name, value] : map) headers.push_back({name, std::move(value)});
  return headers;
}

/// A body that is no base64 is no error yet: callers of the reference hear of it last.
Status read_http(json::Object& http, ExecuteRequest& into) {
  domain::HttpRequest& request = into.http;
  TRY(request.method, http.string("method", 64));
  TRY(const std::string path, http.string("path"));
  // Another type than a string is somebody's extra member, not ours.
  const json::Value* url = http.raw("url");
  std::optional<std::string> given;
  if (url != nullptr && url->is_string()) given = std::string(url->get_string());
  TRY(const auto query, map_of(http, "query"));
  request.url = url_of(path, given, query);
  TRY(request.headers, headers_of(http));
  TRY(const std::optional<std::string> body, http.optional_string("body_b64"));
  if (body) {
    request.body = base64_decode(trim(*body));
    into.malformed_body = !request.body;
  }
  return {};
}

Result<domain::UserIdentity> user_of(json::Object object) {
  domain::UserIdentity user;
  TRY(user.user_id, object.string("user_id", 1024));
  TRY(user.user_email, object.string("user_email", 1024));
  TRY(user.user_name, object.string("user_name", 1024));
  TRY(user.user_type, object.string("user_type", 64));
  TRY(const auto client_name, object.optional_string("client_name", 1024));
  TRY(const auto company_name, object.optional_string("company_name", 1024));
  user.client_name = client_name ? *client_name : company_name.value_or("");
  TRY(user.client_id, object.optional_string("client_id", 1024));
  TRY(user.additional_fields, map_of(object, "additional_fields"));
  return user;
}

std::string text_of(std::string_view value) {
  if (is_utf8(value)) return std::string(value);
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xC0U | (byte >> 6U));
      out += static_cast<char>(0x80U | (byte & 0x3FU));
    }
  }
  return out;
}

}  // namespace

Result<ExecuteRequest> execute_request_from_json(std::string_view text, std::size_t max_bytes) {
  TRY(const json::Value document, json::parse(text, {.max_bytes = max_bytes, .max_depth = 16}));
  TRY(json::Object root, json::Object::of(document));
  TRY(json::Object context, root.object("context"));
  TRY(TenantId tenant, required_id<TenantId>(context, "tenant_id"));
  TRY(ExtensionId extension, required_id<ExtensionId>(context, "extension_id"));
  TRY(ContentHash hash, required_id<ContentHash>(context, "content_hash"));
  ExecuteRequest request{.tenant = std::move(tenant),
                         .extension = std::move(extension),
                         .content_hash = std::move(hash)};
  TRY(const auto request_id, context.optional_string("request_id", 256));
  request.request_id = request_id.value_or("");
  TRY(request.install, optional_id<InstallId>(context, "install_id"));
  TRY(request.version, optional_id<VersionId>(context, "version_id"));
  TRY(request.config, map_of(context, "config"));
  TRY(json::Object http, root.object("http"));
  TRY_VOID(read_http(http, request));
  if (const json::Value* limits = root.raw("limits"); limits != nullptr && !limits->is_null()) {
    TRY(request.limits, domain::parse_requested_limits(*limits, "/limits"));
  }
  const json::Value* envelope = root.raw("secret_envelope");
  if (envelope != nullptr && !envelope->is_null()) {
    TRY(request.envelope, domain::envelope_from_json(*envelope, "/secret_envelope"));
  }
  TRY(auto providers, root.optional_strings("providers", 100));
  if (providers) request.providers = std::move(*providers);
  TRY(auto user, root.optional_object("user"));
  if (user) {
    TRY(request.user, user_of(std::move(*user)));
  }
  return request;
}

std::string execute_response_to_json(const domain::ExecuteResponse& response,
                                     std::string_view request_id) {
  boost::json::object object;
  object["status"] = response.status;
  auto& map = object["headers"].emplace_object();
  boost::json::array list;
  for (const domain::Header& header : response.headers) {
    std::string value = text_of(header.value);
    map[header.name] = value;
    list.push_back(boost::json::array{header.name, value});
  }
  object["header_list"] = std::move(list);
  object["body_b64"] = nullptr;
  if (response.body) object["body_b64"] = base64_encode(as_bytes(*response.body));
  object["error"] = nullptr;
  if (!response.error.empty()) object["error"] = text_of(response.error);
  object["code"] = nullptr;
  if (!response.code.empty()) object["code"] = response.code;
  object["request_id"] = request_id;
  object["end_class"] = response.end_class;
  if (response.retry_after_s != 0) object["retry_after_s"] = response.retry_after_s;
  return boost::json::serialize(object);
}

}  // namespace alga::runner
