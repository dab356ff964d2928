#include "httpd/testing_contract.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/bytes.h"
#include "domain/http.h"
#include "httpd/testing_openapi.h"
#include "httpd/url.h"

namespace alga::httpd::testing {

namespace {

constexpr json::ParseLimits of_bodies{.max_bytes = 64U << 20U, .max_depth = 200};

std::string media_type(const domain::Headers& headers) {
  const std::string_view whole = domain::find_header(headers, "content-type").value_or("");
  return std::string(whole.substr(0, whole.find(';')));
}

bool is_of_type(std::string_view type, const json::Value& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_bool();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  return type == "integer" && (value.is_int64() || value.is_uint64());
}

bool is_of_types(const json::Value& rule, const json::Value& value) {
  if (rule.is_string()) return is_of_type(rule.as_string(), value);
  return std::ranges::any_of(
      rule.as_array(), [&](const json::Value& one) { return is_of_type(one.as_string(), value); });
}

bool is_of_format(const json::Value& value, std::string_view format) {
  static const std::regex moment(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))");
  if (!value.is_string() || format == "binary" || format == "password") return true;
  const auto& text = value.as_string();
  return format == "date-time" && std::regex_match(text.begin(), text.end(), moment);
}

bool is_within(std::string_view word, const json::Value& rule, const json::Value& value) {
  if (!value.is_number()) return true;
  const double bound = rule.to_number<double>();
  const double number = value.to_number<double>();
  return word == "minimum" ? number >= bound : number <= bound;
}

/// A parameter is text; where its schema asks for a number it is the number that it spells.
json::Value parameter_value(const json::Value& schema, const std::string& text) {
  const json::Value* type = schema.as_object().if_contains("type");
  if (type == nullptr || *type == "string") return json::Value(text);
  auto value = json::parse(text);
  return value ? std::move(*value) : json::Value(text);
}

}  // namespace

Contract::Contract(std::string_view document)
    : document_(json::parse(document, {.max_bytes = 4U << 20U}).value()),
      headers_{"accept", "authorization", "content-type"} {
  keep(document_);
}

Contract Contract::of_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return Contract(text.str());
}

void Contract::keep(const json::Value& value) {
  if (value.is_array()) {
    for (const json::Value& item : value.get_array()) keep(item);
  } else if (value.is_object()) {
    const auto& object = value.get_object();
    const json::Value* place = object.if_contains("in");
    if (place != nullptr && *place == "header") headers_.emplace(object.at("name").as_string());
    for (const auto& [name, member] : object) {
      if (name == "pattern" && member.is_string()) {
        patterns_.emplace(member.get_string(), std::string(member.get_string()));
      }
      keep(member);
    }
  }
}

const boost::json::object* Contract::find(std::string_view method, std::string_view pattern) const {
  const json::Value* path =
      document_.at("paths").as_object().if_contains(documented_path(std::string(pattern)));
  if (path == nullptr) return nullptr;
  std::string lower(method);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const json::Value* operation = path->as_object().if_contains(lower);
  if (operation == nullptr && lower == "head") operation = path->as_object().if_contains("get");
  return operation == nullptr ? nullptr : &operation->as_object();
}

std::string Contract::fault_of(std::string_view method, std::string_view pattern,
                               const Response& response) const {
  const boost::json::object* operation = find(method, pattern);
  if (operation == nullptr) return "the operation is not in the document";
  const auto& responses = operation->at("responses").as_object();
  const json::Value* said = responses.if_contains(std::to_string(response.status));
  if (said == nullptr && response.status >= 400) said = responses.if_contains("default");
  if (said == nullptr) return "the document knows no status " + std::to_string(response.status);
  const bool empty = response.body.empty() && response.file.empty() && !response.stream;
  const json::Value* content = said->as_object().if_contains("content");
  if (content == nullptr) return empty ? "" : "the document knows no body here";
  const std::string type = media_type(response.headers);
  const json::Value* entry = content->as_object().if_contains(type);
  if (entry == nullptr) return "the document knows no answer of the type '" + type + "' here";
  if (type != "application/json" || !response.file.empty() || response.stream) return "";
  const auto value = json::parse(response.body, of_bodies);
  return value ? fault(entry->at("schema"), *value, "") : "the body is no JSON";
}

std::string Contract::fault_of(std::string_view method, std::string_view pattern,
                               const Request& request) const {
  const boost::json::object* operation = find(method, pattern);
  if (operation == nullptr) return "the operation is not in the document";
  std::string found = fault_of_parameters(*operation, request);
  return found.empty() ? fault_of_body(*operation, request) : found;
}

std::string Contract::fault_of_parameters(const boost::json::object& operation,
                                          const Request& request) const {
  std::map<std::string, std::string> sent;  // what the document names is taken out
  for (const auto& [name, value] : parse_query(request.query)) sent["query " + name] = value;
  for (const auto& [name, value] : request.params) sent["path " + name] = value;
  for (const domain::Header& header : request.headers) {
    if (!headers_.contains(to_lower(header.name)))
      return "the document knows no header " + header.name;
  }
  const json::Value* list = operation.if_contains("parameters");
  for (const json::Value& parameter : list == nullptr ? boost::json::array() : list->as_array()) {
    const std::string place(parameter.at("in").as_string());
    const std::string name(parameter.at("name").as_string());
    std::optional<std::string> given;
    if (place == "header") {
      given = request.header(name);
    } else if (const auto found = sent.extract(place + ' ' + name)) {
      given = found.mapped();
    }
    if (!given) {
      if (parameter.at("required").as_bool())
        return "the document asks for the " + place + ' ' + name;
      continue;
    }
    const json::Value& schema = parameter.at("schema");
    std::string found = fault(schema, parameter_value(schema, *given), place + ' ' + name);
    if (!found.empty()) return found;
  }
  return sent.empty() ? "" : "the document knows no " + sent.begin()->first;
}

std::string Contract::fault_of_body(const boost::json::object& operation,
                                    const Request& request) const {
  const bool empty = request.body.empty() && request.body_size == 0;
  const json::Value* body = operation.if_contains("requestBody");
  if (body == nullptr) return empty ? "" : "the document knows no body of the request";
  if (empty) return body->at("required").as_bool() ? "the document asks for a body" : "";
  const json::Value* entry = body->at("content").as_object().if_contains("application/json");
  if (entry == nullptr) return "";
  const auto value = json::parse(request.body, of_bodies);
  return value ? fault(entry->at("schema"), *value, "") : "the request's body is no JSON";
}

std::string Contract::fault_of_caller(std::string_view method, std::string_view pattern,
                                      const Request& request) const {
  const boost::json::object* operation = find(method, pattern);
  if (operation == nullptr) return "the operation is not in the document";
  const auto& any_of = operation->at("security").as_array();
  const bool known = any_of.empty() || std::ranges::any_of(any_of, [&](const json::Value& all_of) {
                       return std::ranges::all_of(all_of.as_object(), [&](const auto& one) {
                         return presents(request, one.key());
                       });
                     });
  return known ? "" : "the document asks for " + boost::json::serialize(any_of);
}

bool Contract::presents(const Request& request, std::string_view scheme) const {
  const auto& said = document_.at_pointer("/components/securitySchemes").at(scheme).as_object();
  if (said.at("type") == "mutualTLS") return !request.peer.certificate_names.empty();
  const json::Value* header = said.if_contains("name");
  return request.header(header == nullptr ? "authorization" : std::string_view(header->as_string()))
      .has_value();
}

std::string Contract::fault(const json::Value& schema, const json::Value& value,
                            const std::string& where) const {
  for (const auto& [word, rule] : schema.as_object()) {
    std::string found = fault_of_word(schema.as_object(), word, rule, value, where);
    if (!found.empty()) return found;
  }
  return "";
}

std::string Contract::fault_of_word(const boost::json::object& schema, std::string_view word,
                                    const json::Value& rule, const json::Value& value,
                                    const std::string& where) const {
  const auto unless = [&](bool good) {
    if (good) return std::string();
    return (where.empty() ? "the body" : where) + " is not of the " + std::string(word) + " " +
           boost::json::serialize(rule) + ": " + boost::json::serialize(value).substr(0, 200);
  };
  if (word == "description") return "";
  if (word == "$ref") {
    return fault(document_.at_pointer(std::string(rule.as_string()).substr(1)), value, where);
  }
  if (word == "type") return unless(is_of_types(rule, value));
  if (word == "enum") {
    return unless(std::ranges::find(rule.as_array(), value) != rule.as_array().end());
  }
  if (word == "const") return unless(rule == value);
  if (word == "format") return unless(is_of_format(value, rule.as_string()));
  if (word == "minimum" || word == "maximum") return unless(is_within(word, rule, value));
  if (word == "pattern") {
    return unless(!value.is_string() ||
                  std::regex_search(std::string(value.as_string()),
                                    patterns_.find(std::string_view(rule.as_string()))->second));
  }
  if (word == "anyOf") {
    return unless(std::ranges::any_of(
        rule.as_array(), [&](const json::Value& one) { return fault(one, value, where).empty(); }));
  }
  if (word == "required" && value.is_object()) {
    for (const json::Value& name : rule.as_array()) {
      if (!value.as_object().contains(name.as_string())) {
        return (where.empty() ? "the body" : where) + " lacks " + std::string(name.as_string());
      }
    }
    return "";
  }
  if (word == "items") return value.is_array() ? fault_of_items(rule, value.as_array(), where) : "";
  if (word == "properties") {
    return value.is_object() ? fault_of_members(schema, value.as_object(), where) : "";
  }
  if (word == "additionalProperties") {  // with properties it is looked at there
    const bool alone = value.is_object() && !schema.contains("properties");
    return alone ? fault_of_members(schema, value.as_object(), where) : "";
  }
  return word == "required" ? "" : "this test does not understand the word " + std::string(word);
}

std::string Contract::fault_of_members(const boost::json::object& schema,
                                       const boost::json::object& value,
                                       const std::string& where) const {
  const json::Value* properties = schema.if_contains("properties");
  const json::Value* others = schema.if_contains("additionalProperties");
  for (const auto& [name, member] : value) {
    const std::string place = where + "/" + std::string(name);
    const json::Value* known =
        properties == nullptr ? nullptr : properties->as_object().if_contains(name);
    std::string found;
    if (known != nullptr) {
      found = fault(*known, member, place);
    } else if (others != nullptr && others->is_object()) {
      found = fault(*others, member, place);
    } else if (others != nullptr && !others->as_bool()) {
      found = place + " is not in the document";
    }
    if (!found.empty()) return found;
  }
  return "";
}

std::string Contract::fault_of_items(const json::Value& schema, const boost::json::array& value,
                                     const std::string& where) const {
  for (std::size_t i = 0; i < value.size(); ++i) {
    std::string found = fault(schema, value[i], where + "/" + std::to_string(i));
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace alga::httpd::testing
