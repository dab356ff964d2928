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
    const auto found = lines_.find(line);
    if (found != lines_.end()) {
      found->second.push_back(std::move(item));
    } else {
      // Made before anything changes: there may be no memory for it.
      std::list<std::string> turn{line};
      std::deque<T> items;
      items.push_back(std::move(item));
      lines_.emplace(line, std::move(items));
      turns_.splice(turns_.end(), turn);
    }
    ++size_;
  }

  /// The first of the line whose turn it is, of those that `may` take one (asked with a line's
  /// name); nothing when there is none.
  template <class May>
  std::optional<Taken> pop(May may) {
    for (auto turn = turns_.begin(); turn != turns_.end(); ++turn) {
      if (!may(std::as_const(*turn))) continue;
      const auto found = lines_.find(*turn);
      Taken taken{.line = *turn, .item = std::move(found->second.front())};
      found->second.pop_front();
      --size_;
      if (found->second.empty()) {
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
    return found == lines_.end() ? 0 : found->second.size();
  }

 private:
  std::unordered_map<std::string, std::deque<T>> lines_;  ///< none is empty
  std::list<std::string> turns_;
  std::size_t size_ = 0;
};

}  // namespace alga
