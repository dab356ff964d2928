#include "json/parse.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace alga::json {
namespace {

namespace bj = boost::json;

/// Builds the value and, unlike the library's own handler, remembers the names of each open object.
class StrictHandler {
 public:
  static constexpr std::size_t max_object_size = 1U << 24U;
  static constexpr std::size_t max_array_size = 1U << 24U;
  static constexpr std::size_t max_key_size = 1U << 20U;
  static constexpr std::size_t max_string_size = 1U << 30U;

  [[nodiscard]] Value release() { return stack_.release(); }
  [[nodiscard]] const std::string& duplicate() const { return duplicate_; }

  bool on_document_begin(bj::error_code&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(bj::error_code&) { return true; }

  bool on_object_begin(bj::error_code&) {
    names_.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t count, bj::error_code& ec) {
    std::vector<std::string> names = std::move(names_.back());
    names_.pop_back();
    std::ranges::sort(names);
    if (auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
      duplicate_ = *twice;
      ec = bj::error::extra_data;
      return false;
    }
    stack_.push_object(count);
    return true;
  }
  bool on_array_begin(bj::error_code&) { return true; }
  bool on_array_end(std::size_t count, bj::error_code&) {
    stack_.push_array(count);
    return true;
  }
  bool on_key_part(bj::string_view part, std::size_t, bj::error_code&) {
    name_.append(part.data(), part.size());
    stack_.push_chars(part);
    return true;
  }
  bool on_key(bj::string_view part, std::size_t, bj::error_code&) {
    name_.append(part.data(), part.size());
    names_.back().push_back(std::exchange(name_, {}));
    stack_.push_key(part);
    return true;
  }
  bool on_string_part(bj::string_view part, std::size_t, bj::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(bj::string_view part, std::size_t, bj::error_code&) {
    stack_.push_string(part);
    return true;
  }
  bool on_number_part(bj::string_view part, bj::error_code&) {
    number_.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t number, bj::string_view, bj::error_code&) {
    number_.clear();
    stack_.push_int64(number);
    return true;
  }
  bool on_uint64(std::uint64_t number, bj::string_view, bj::error_code&) {
    number_.clear();
    stack_.push_uint64(number);
    return true;
  }
  bool on_double(double, bj::string_view part, bj::error_code& ec) {
    // The library's own conversion (1.81) is off by one unit for long numbers: what it wrote would
    // not read back as itself.
    number_.append(part.data(), part.size());
    double number = 0;
    auto [end, error] = std::from_chars(number_.data(), number_.data() + number_.size(), number);
    if (error != std::errc{} || end != number_.data() + number_.size() || !std::isfinite(number)) {
      ec = bj::error::exponent_overflow;
      return false;
    }
    number_.clear();
    stack_.push_double(number);
    return true;
  }
  bool on_bool(bool value, bj::error_code&) {
    stack_.push_bool(value);
    return true;
  }
  bool on_null(bj::error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(bj::string_view, bj::error_code&) { return false; }
  bool on_comment(bj::string_view, bj::error_code&) { return false; }

 private:
  bj::value_stack stack_;
  std::vector<std::vector<std::string>> names_;
  std::string name_;
  std::string number_;
  std::string duplicate_;
};

void append_canonical(const Value& value, std::string& out);

void append_object(const bj::object& object, std::string& out) {
  std::vector<const bj::key_value_pair*> members;
  members.reserve(object.size());
  for (const bj::key_value_pair& member : object) members.push_back(&member);
  std::ranges::sort(members, {}, [](const bj::key_value_pair* member) {
    return std::string_view{member->key().data(), member->key().size()};
  });
  char separator = '{';
  for (const bj::key_value_pair* member : members) {
    out += std::exchange(separator, ',');
    out += bj::serialize(member->key());
    out += ':';
    append_canonical(member->value(), out);
  }
  if (members.empty()) out += '{';
  out += '}';
}

void append_canonical(const Value& value, std::string& out) {
  if (const bj::object* object = value.if_object()) return append_object(*object, out);
  const bj::array* array = value.if_array();
  if (array == nullptr) {
    out += bj::serialize(value);
    return;
  }
  out += '[';
  for (std::size_t i = 0; i < array->size(); ++i) {
    if (i > 0) out += ',';
    append_canonical((*array)[i], out);
  }
  out += ']';
}

}  // namespace

Result<Value> parse(std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return fail(Kind::too_large, "json.too_large",
                "the document is larger than " + std::to_string(limits.max_bytes) + " bytes");
  }
  bj::parse_options options;
  options.max_depth = limits.max_depth;
  bj::basic_parser<StrictHandler> parser{options};
  bj::error_code ec;
  std::size_t used = parser.write_some(false, text.data(), text.size(), ec);
  if (!ec && used < text.size()) ec = bj::error::extra_data;
  if (!ec) return parser.handler().release();

  std::string where = " at byte " + std::to_string(used);
  if (!parser.handler().duplicate().empty() || ec == bj::error::extra_data) {
    if (used < text.size() && parser.done()) {
      return fail(Kind::invalid, "json.malformed", "something follows the document" + where);
    }
    return fail(Kind::invalid, "json.duplicate_member", "a member name occurs twice" + where);
  }
  if (ec == bj::error::too_deep) {
    return fail(Kind::invalid, "json.too_deep",
                "nested deeper than " + std::to_string(limits.max_depth) + " levels" + where);
  }
  return fail(Kind::invalid, "json.malformed", ec.message() + where);
}

std::string canonical(const Value& value) {
  std::string out;
  append_canonical(value, out);
  return out;
}

}  // namespace alga::json
