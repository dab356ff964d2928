#include "json/decode.h"

#include <utility>

#include "base/bytes.h"

namespace alga::json {
namespace {

namespace bj = boost::json;

std::string escape_pointer(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      // A name from outside ends up in messages and logs: keep it to one visible line.
      auto byte = static_cast<unsigned char>(c);
      out += (byte < 0x20 || byte == 0x7F) ? '?' : c;
    }
  }
  constexpr std::size_t longest = 128;
  if (out.size() > longest) out = std::string(utf8_prefix(out, longest)) + "…";
  return out;
}

std::string shown(const std::string& path) { return path.empty() ? "the document" : path; }

}  // namespace

Result<Object> Object::of(const Value& value, std::string path) {
  const bj::object* object = value.if_object();
  if (object == nullptr) {
    return fail(Kind::invalid, "json.wrong_type", shown(path) + " must be an object");
  }
  return Object{*object, std::move(path)};
}

std::string Object::path_of(std::string_view name) const {
  return path_ + "/" + escape_pointer(name);
}

std::unexpected<Error> Object::wrong(std::string_view name, std::string_view expected) const {
  return fail(Kind::invalid, "json.wrong_type",
              path_of(name) + " must be " + std::string(expected));
}

bool Object::has(std::string_view name) const { return object_->contains(name); }

const Value* Object::raw(std::string_view name) {
  const auto* found = object_->find(name);
  if (found == object_->end()) return nullptr;
  read_[static_cast<std::size_t>(found - object_->begin())] = true;
  return &found->value();
}

const Value* Object::present(std::string_view name) {
  const Value* value = raw(name);
  return value != nullptr && value->is_null() ? nullptr : value;
}

Result<const Value*> Object::required(std::string_view name) {
  const Value* value = raw(name);
  if (value == nullptr) {
    return fail(Kind::invalid, "json.missing_member", path_of(name) + " is missing");
  }
  return value;
}

Result<std::optional<std::string>> Object::optional_string(std::string_view name,
                                                           std::size_t max_bytes) {
  if (present(name) == nullptr) return std::nullopt;
  TRY(std::string text, string(name, max_bytes));
  return text;
}

Result<std::string> Object::string(std::string_view name, std::size_t max_bytes) {
  TRY(const Value* value, required(name));
  const bj::string* text = value->if_string();
  if (text == nullptr) return wrong(name, "a string");
  if (text->size() > max_bytes) {
    return fail(Kind::invalid, "json.out_of_range",
                path_of(name) + " is longer than " + std::to_string(max_bytes) + " bytes");
  }
  return std::string{text->data(), text->size()};
}

Result<std::optional<std::int64_t>> Object::optional_integer(std::string_view name,
                                                             std::int64_t min, std::int64_t max) {
  if (present(name) == nullptr) return std::nullopt;
  TRY(std::int64_t number, integer(name, min, max));
  return number;
}

Result<std::int64_t> Object::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  TRY(const Value* value, required(name));
  bool too_big = value->is_uint64();  // the parser uses uint64 only beyond the int64 range
  const std::int64_t* number = value->if_int64();
  if (number == nullptr && !too_big) return wrong(name, "a whole number");
  if (too_big || *number < min || *number > max) {
    return fail(
        Kind::invalid, "json.out_of_range",
        path_of(name) + " must be between " + std::to_string(min) + " and " + std::to_string(max));
  }
  return *number;
}

Result<std::optional<bool>> Object::optional_boolean(std::string_view name) {
  if (present(name) == nullptr) return std::nullopt;
  TRY(bool value, boolean(name));
  return value;
}

Result<bool> Object::boolean(std::string_view name) {
  TRY(const Value* value, required(name));
  const bool* flag = value->if_bool();
  if (flag == nullptr) return wrong(name, "true or false");
  return *flag;
}

Result<std::optional<Object>> Object::optional_object(std::string_view name) {
  if (present(name) == nullptr) return std::nullopt;
  TRY(Object child, object(name));
  return child;
}

Result<Object> Object::object(std::string_view name) {
  TRY(const Value* value, required(name));
  return of(*value, path_of(name));
}

Result<std::optional<std::vector<std::string>>> Object::optional_strings(std::string_view name,
                                                                         std::size_t max_items) {
  if (present(name) == nullptr) return std::nullopt;
  TRY(std::vector<std::string> list, strings(name, max_items));
  return list;
}

Result<std::vector<std::string>> Object::strings(std::string_view name, std::size_t max_items) {
  TRY(const Value* value, required(name));
  const bj::array* array = value->if_array();
  if (array == nullptr) return wrong(name, "a list of strings");
  if (array->size() > max_items) {
    return fail(Kind::invalid, "json.out_of_range",
                path_of(name) + " has more than " + std::to_string(max_items) + " items");
  }
  std::vector<std::string> out;
  out.reserve(array->size());
  for (const Value& item : *array) {
    const bj::string* text = item.if_string();
    if (text == nullptr) return wrong(name, "a list of strings");
    out.emplace_back(text->data(), text->size());
  }
  return out;
}

Result<std::vector<Object>> Object::objects(std::string_view name, std::size_t max_items) {
  std::vector<Object> out;
  const Value* value = present(name);
  if (value == nullptr) return out;
  const bj::array* array = value->if_array();
  if (array == nullptr) return wrong(name, "a list of objects");
  if (array->size() > max_items) {
    return fail(Kind::invalid, "json.out_of_range",
                path_of(name) + " has more than " + std::to_string(max_items) + " items");
  }
  for (std::size_t i = 0; i < array->size(); ++i) {
    TRY(Object item, of((*array)[i], path_of(name) + "/" + std::to_string(i)));
    out.push_back(std::move(item));
  }
  return out;
}

Result<std::map<std::string, std::string>> Object::string_map(std::string_view name,
                                                              std::size_t max_items) {
  std::map<std::string, std::string> out;
  const Value* value = present(name);
  if (value == nullptr) return out;
  const bj::object* object = value->if_object();
  if (object == nullptr) return wrong(name, "an object of strings");
  if (object->size() > max_items) {
    return fail(Kind::invalid, "json.out_of_range",
                path_of(name) + " has more than " + std::to_string(max_items) + " members");
  }
  for (const auto& member : *object) {
    const bj::string* text = member.value().if_string();
    if (text == nullptr) {
      return fail(Kind::invalid, "json.wrong_type",
                  path_of(name) + "/" + escape_pointer(member.key()) + " must be a string");
    }
    out.emplace(member.key(), std::string{text->data(), text->size()});
  }
  return out;
}

Status Object::finish() const {
  for (std::size_t i = 0; i < read_.size(); ++i) {
    if (!read_[i]) {
      return fail(Kind::invalid, "json.unknown_member",
                  path_of((object_->begin() + i)->key()) + " is not known here");
    }
  }
  return {};
}

Result<Document> Document::parse(std::string_view text, const ParseLimits& limits) {
  TRY(Value value, json::parse(text, limits));
  TRY_VOID(Object::of(value));
  return Document{std::move(value)};
}

Object Document::root() const { return Object::of(value_).value(); }

}  // namespace alga::json
