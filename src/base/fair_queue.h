#pragma once

#include <cstddef>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace alga {

/// Items in lines, each with a name, that take turns: a line of a thousand keeps one of two waiting
/// for no more than every second turn. Within a line the order is that of arrival. Not thread-safe.
template <class T>
class FairQueue {
 public:
  struct Taken {
    std::string line;
    T item;
  };

  void push(const std::string& line, T item) {
    auto [found, is_new] = lines_.try_emplace(line);
    if (is_new) found->second.turn = turns_.insert(turns_.end(), line);
    found->second.items.push_back(std::move(item));
    ++size_;
  }

  /// The first of the line whose turn it is, of those that `may` take one (asked with a line's
  /// name); nothing when there is none.
  template <class May>
  std::optional<Taken> pop(May may) {
    for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
      if (!may(std::as_const(*turn))) continue;
      const auto found = lines_.find(*turn);
      Taken taken{.line = *turn, .item = std::move(found->second.items.front())};
      found->second.items.pop_front();
      --size_;
      if (found->second.items.empty()) {
        turns_.erase(turn);
        lines_.erase(found);
      } else {
        turns_.splice(turns_.end(), turns_, turn);
      }
      return taken;
    }
    return std::nullopt;
  }
  std::optional<Taken> pop() {
    return pop([](const std::string&) { return true; });
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// Of one line.
  [[nodiscard]] std::size_t size(const std::string& line) const {
    const auto found = lines_.find(line);
    return found == lines_.end() ? 0 : found->second.items.size();
  }

 private:
  struct Line {
    std::deque<T> items;
    std::list<std::string>::iterator turn{};
  };
  std::unordered_map<std::string, Line> lines_;  ///< none is empty
  std::list<std::string> turns_;
  std::size_t size_ = 0;
};

}  // namespace alga
