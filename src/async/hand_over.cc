#include "async/hand_over.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/result.h"

namespace alga::async {
namespace {

namespace asio = boost::asio;

/// What other threads hand over to one loop: a stack that is taken whole, and an eventfd that the
/// loop reads. Each io_context owns one.
class Inbox final : public asio::execution_context::service {
 public:
  static inline asio::execution_context::id
      id;  // NOLINT(readability-identifier-naming): Asio's name

  explicit Inbox(asio::execution_context& owner)
      : service(owner), loop_(static_cast<asio::io_context&>(owner)), bell_(loop_) {
    const int bell = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ALGA_CHECK(bell >= 0);
    bell_.assign(bell);
  }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() override { drop(take()); }

  void put(std::move_only_function<void()> step) {
    // Asio may make a second inbox and throw it away, so that it begins only here.
    if (!listening_.exchange(true, std::memory_order_relaxed)) listen();
    auto letter = std::make_unique<Letter>(std::move(step), nullptr);
    Letter* top = top_.load(std::memory_order_relaxed);
    do {
      letter->below = top;
    } while (!top_.compare_exchange_weak(top, letter.get(), std::memory_order_acq_rel));
    // It is the loop's from here on. Whoever laid down the one below rings, or has rung.
    static_cast<void>(letter.release());
    if (top == nullptr) ring();
  }

 private:
  struct Letter {
    std::move_only_function<void()> step;
    Letter* below;
  };

  void shutdown() noexcept override { drop(take()); }

  void ring() {
    constexpr std::uint64_t kOnce = 1;
    ALGA_CHECK(::write(bell_.native_handle(), &kOnce, sizeof kOnce) == sizeof kOnce);
  }

  void listen() {
    bell_.async_read_some(asio::buffer(&rings_, sizeof rings_),
                          [this](const boost::system::error_code& error, std::size_t) {
                            // Asio counts one down when this returns.
                            loop_.get_executor().on_work_started();
                            if (error) return;
                            deliver();
                            listen();
                          });
    // A loop is done when nothing but this is left.
    loop_.get_executor().on_work_finished();
  }

  /// All that lies there, the oldest first.
  Letter* take() {
    Letter* oldest = nullptr;
    Letter* next = top_.exchange(nullptr, std::memory_order_acq_rel);
    while (next != nullptr) {
      Letter* const below = std::exchange(next->below, oldest);
      oldest = std::exchange(next, below);
    }
    return oldest;
  }

  void deliver() {
    for (Letter* next = take(); next != nullptr;) {
      const std::unique_ptr<Letter> letter(next);
      next = letter->below;
      letter->step();
    }
  }

  static void drop(Letter* next) {
    while (next != nullptr) {
      const std::unique_ptr<Letter> letter(next);
      next = letter->below;
    }
  }

  asio::io_context& loop_;
  asio::posix::stream_descriptor bell_;
  std::uint64_t rings_ = 0;
  std::atomic<bool> listening_{false};
  std::atomic<Letter*> top_{nullptr};
};

}  // namespace

void hand_over(const asio::any_io_executor& executor, std::move_only_function<void()> step) {
  if (const auto* plain = executor.target<asio::io_context::executor_type>()) {
    asio::use_service<Inbox>(plain->context()).put(std::move(step));
  } else {
    asio::post(executor, std::move(step));
  }
}

}  // namespace alga::async
