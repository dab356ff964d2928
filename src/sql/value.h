#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"

namespace alga::sql {

/// Bytes, as opposed to text: BLOB and BYTEA.
struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};

/// What a column or a parameter holds: NULL, a 64-bit integer, UTF-8 text without NUL, or bytes.
/// Times are integers (milliseconds since 1970, UTC), truth values 0 and 1, JSON is text: the two
/// engines then agree on every value.
class Value {
 public:
  using Storage = std::variant<std::monostate, std::int64_t, std::string, Blob>;

  Value() = default;
  Value(std::nullopt_t) {}                                       // NOLINT: parameters read well
  Value(std::string_view text) : storage_(std::string(text)) {}  // NOLINT
  Value(const char* text) : storage_(std::string(text)) {}       // NOLINT
  Value(std::string text) : storage_(std::move(text)) {}         // NOLINT
  Value(Blob blob) : storage_(std::move(blob)) {}                // NOLINT
  Value(WallTime time) : storage_(time.time_since_epoch().count()) {}  // NOLINT
  template <std::integral Integer>
  Value(Integer number) : storage_(static_cast<std::int64_t>(number)) {}  // NOLINT
  template <class Tag>
  Value(const Id<Tag>& id) : storage_(id.str()) {}  // NOLINT
  template <class T>
  Value(const std::optional<T>& value) {  // NOLINT
    if (value) storage_ = Value(*value).storage_;
  }

  [[nodiscard]] const Storage& storage() const [[clang::lifetimebound]] { return storage_; }
  [[nodiscard]] bool is_null() const { return storage_.index() == 0; }

 private:
  Storage storage_;
};

using Params = std::initializer_list<Value>;

namespace detail {
template <class T>
struct Column {
  static T read(const Value& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      const auto* text = std::get_if<std::string>(&value.storage());
      ALGA_CHECK(text != nullptr);
      return *text;
    } else if constexpr (std::is_same_v<T, Blob>) {
      const auto* blob = std::get_if<Blob>(&value.storage());
      ALGA_CHECK(blob != nullptr);
      return *blob;
    } else {
      const auto* number = std::get_if<std::int64_t>(&value.storage());
      ALGA_CHECK(number != nullptr);
      if constexpr (std::is_same_v<T, WallTime>) {
        return WallTime{std::chrono::milliseconds{*number}};
      } else if constexpr (std::is_same_v<T, bool>) {
        return *number != 0;
      } else {
        static_assert(std::is_integral_v<T>);
        return static_cast<T>(*number);
      }
    }
  }
};
template <class T>
struct Column<std::optional<T>> {
  static std::optional<T> read(const Value& value) {
    if (value.is_null()) return std::nullopt;
    return Column<T>::read(value);
  }
};
}  // namespace detail

/// One row of an answer. A column of another type than the caller names is a bug: CHECK.
class Row {
 public:
  explicit Row(std::vector<Value> values) : values_(std::move(values)) {}

  template <class T>
  [[nodiscard]] T at(std::size_t column) const {
    ALGA_CHECK(column < values_.size());
    return detail::Column<T>::read(values_[column]);
  }
  /// `auto [id, name] = row.as<std::string, std::optional<std::string>>();`
  template <class... Ts>
  [[nodiscard]] std::tuple<Ts...> as() const {
    ALGA_CHECK(values_.size() == sizeof...(Ts));
    return as_tuple<Ts...>(std::index_sequence_for<Ts...>{});
  }

 private:
  template <class... Ts, std::size_t... Is>
  std::tuple<Ts...> as_tuple(std::index_sequence<Is...>) const {
    return std::tuple<Ts...>{detail::Column<Ts>::read(values_[Is])...};
  }
  std::vector<Value> values_;
};

using Rows = std::vector<Row>;

}  // namespace alga::sql
