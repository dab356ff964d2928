#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace alga {

/// A value that must not be printed, logged, compared by `==` or copied by accident. It has no
/// formatter and no `<<`; `reveal()` is the one way to the bytes, so that each use can be found.
/// The memory is wiped before it is given back. Move-only; `copy()` says that it copies.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      value_ = std::move(other.value_);
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }

  [[nodiscard]] std::string_view reveal() const [[clang::lifetimebound]] { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  [[nodiscard]] Secret copy() const { return Secret{value_}; }
  /// Constant-time in the content; the length is not hidden.
  [[nodiscard]] bool equals(std::string_view other) const {
    if (other.size() != value_.size()) return false;
    unsigned char difference = 0;
    for (std::size_t i = 0; i < other.size(); ++i) {
      difference = static_cast<unsigned char>(difference | (static_cast<unsigned char>(value_[i]) ^
                                                            static_cast<unsigned char>(other[i])));
    }
    return difference == 0;
  }

 private:
  void wipe() noexcept {
    // A moved-from short string keeps its bytes in place, so the whole buffer is wiped.
    value_.resize(value_.capacity());
    explicit_bzero(value_.data(), value_.size());
    value_.clear();
  }
  std::string value_;
};

}  // namespace alga
