#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "json/parse.h"

namespace alga::json {

/// Reads the members of one JSON object, each at most once, with the JSON pointer (RFC 6901) of the
/// culprit in every message. `null` counts as absent for optional members and as a wrong type for
/// required ones. Errors (Kind::invalid): `json.missing_member`, `json.wrong_type`,
/// `json.out_of_range`, and from finish() `json.unknown_member`. Messages never contain a value.
/// Borrows the value it reads: it must outlive the reader.
class Object {
 public:
  /// `path` is the JSON pointer of `value` in its document, empty for the root.
  [[nodiscard]] static Result<Object> of(const Value& value [[clang::lifetimebound]],
                                         std::string path = {});

  /// True when the member is there, even as null. Does not count as reading it.
  [[nodiscard]] bool has(std::string_view name) const;

  /// Strings: `max_bytes` bounds the UTF-8 length.
  [[nodiscard]] Result<std::string> string(std::string_view name, std::size_t max_bytes = no_limit);
  [[nodiscard]] Result<std::optional<std::string>> optional_string(
      std::string_view name, std::size_t max_bytes = no_limit);

  /// Whole numbers within [min, max]; `5.0` and `5e0` are refused.
  [[nodiscard]] Result<std::int64_t> integer(
      std::string_view name, std::int64_t min = std::numeric_limits<std::int64_t>::min(),
      std::int64_t max = std::numeric_limits<std::int64_t>::max());
  [[nodiscard]] Result<std::optional<std::int64_t>> optional_integer(
      std::string_view name, std::int64_t min = std::numeric_limits<std::int64_t>::min(),
      std::int64_t max = std::numeric_limits<std::int64_t>::max());

  [[nodiscard]] Result<bool> boolean(std::string_view name);
  [[nodiscard]] Result<std::optional<bool>> optional_boolean(std::string_view name);

  [[nodiscard]] Result<Object> object(std::string_view name);
  [[nodiscard]] Result<std::optional<Object>> optional_object(std::string_view name);

  /// A list of strings.
  [[nodiscard]] Result<std::vector<std::string>> strings(std::string_view name,
                                                         std::size_t max_items = no_limit);
  [[nodiscard]] Result<std::optional<std::vector<std::string>>> optional_strings(
      std::string_view name, std::size_t max_items = no_limit);

  /// A list of objects; absent gives an empty list.
  [[nodiscard]] Result<std::vector<Object>> objects(std::string_view name,
                                                    std::size_t max_items = no_limit);

  /// An object whose members are all strings; absent gives an empty map.
  [[nodiscard]] Result<std::map<std::string, std::string>> string_map(
      std::string_view name, std::size_t max_items = no_limit);

  /// The raw value, or null when absent. Counts as reading it.
  [[nodiscard]] const Value* raw(std::string_view name) [[clang::lifetimebound]];

  /// Refuses members that nobody has read.
  [[nodiscard]] Status finish() const;

  /// JSON pointer of a member, for messages.
  [[nodiscard]] std::string path_of(std::string_view name) const;
  [[nodiscard]] const std::string& path() const [[clang::lifetimebound]] { return path_; }
  [[nodiscard]] const boost::json::object& members() const { return *object_; }

  static constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

 private:
  Object(const boost::json::object& object, std::string path)
      : object_(&object), path_(std::move(path)), read_(object.size(), false) {}

  [[nodiscard]] Result<const Value*> required(std::string_view name);
  [[nodiscard]] const Value* present(std::string_view name);
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view name,
                                             std::string_view expected) const;

  const boost::json::object* object_;
  std::string path_;
  std::vector<bool> read_;
};

/// Parses `text` and expects an object at its root. The reader keeps the parsed value alive.
class Document {
 public:
  [[nodiscard]] static Result<Document> parse(std::string_view text,
                                              const ParseLimits& limits = {});
  /// The root's reader; call once.
  [[nodiscard]] Object root() const [[clang::lifetimebound]];
  [[nodiscard]] const Value& value() const [[clang::lifetimebound]] { return value_; }

 private:
  explicit Document(Value value) : value_(std::move(value)) {}
  Value value_;
};

}  // namespace alga::json
