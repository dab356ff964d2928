#include "runner/engine_calls.h"

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <mutex>
#include <optional>
#include <utility>

#include "async/await_callback.h"
#include "async/hand_over.h"

namespace alga::runner {
namespace {

using ComponentPtr = std::shared_ptr<engine::Component>;

/// The first of two answers: the engine's or the timer's. After the first one it touches nothing
/// of the waiting coroutine, whose thread may be gone when a late compile ends.
class FirstAnswer {
 public:
  FirstAnswer(Callback<ComponentPtr> done, std::shared_ptr<boost::asio::steady_timer> timer)
      : done_(std::move(done)), timer_(std::move(timer)) {}

  void settle(Result<ComponentPtr> answer) {
    std::optional<Callback<ComponentPtr>> done;
    std::shared_ptr<boost::asio::steady_timer> timer;
    {
      const std::scoped_lock lock(mutex_);
      done = std::exchange(done_, std::nullopt);
      timer = std::move(timer_);
    }
    if (!done) return;
    const auto executor = timer->get_executor();
    boost::asio::post(executor, [timer = std::move(timer)] { timer->cancel(); });
    (*done)(std::move(answer));
  }

 private:
  std::mutex mutex_;
  std::optional<Callback<ComponentPtr>> done_;
  std::shared_ptr<boost::asio::steady_timer> timer_;
};

}  // namespace

async::Task<Result<ComponentPtr>> load_component(engine::Engine* engine, ContentHash hash,
                                                 std::filesystem::path wasm,
                                                 std::shared_ptr<const void> lease,
                                                 std::string line,
                                                 std::chrono::milliseconds cold_wait) {
  auto executor = co_await boost::asio::this_coro::executor;
  auto timer = std::make_shared<boost::asio::steady_timer>(executor, cold_wait);
  auto component = co_await async::await_callback<ComponentPtr>(
      [engine, hash, wasm, lease, line,
       timer = std::move(timer)](Callback<ComponentPtr> done) mutable {
        auto& waiting = *timer;
        auto first = std::make_shared<FirstAnswer>(std::move(done), std::move(timer));
        waiting.async_wait([first](const boost::system::error_code& error) {
          if (error) return;
          first->settle(
              fail({Kind::unavailable, "engine.cold", "the component is being compiled", 2}));
        });
        engine->load(hash, wasm, lease, line,
                     [first](Result<ComponentPtr> answer) { first->settle(std::move(answer)); });
      });
  co_return component;
}

async::Task<engine::Outcome> run_component(engine::Engine* engine, ComponentPtr component,
                                           engine::Invocation invocation) {
  engine::Outcome outcome = co_await boost::asio::async_initiate<
      const boost::asio::use_awaitable_t<>, void(engine::Outcome)>(
      [engine](auto handler, ComponentPtr what, engine::Invocation how) {
        auto guard = boost::asio::make_work_guard(boost::asio::get_associated_executor(handler));
        auto slot = boost::asio::get_associated_cancellation_slot(handler);
        engine::Ticket ticket = engine->run(
            std::move(what), std::move(how),
            [handler = std::move(handler), guard = std::move(guard),
             slot](engine::Outcome end) mutable {
              auto executor = guard.get_executor();
              async::hand_over(
                  executor, [handler = std::move(handler), slot, end = std::move(end)]() mutable {
                    slot.clear();
                    handler(std::move(end));
                  });
              guard.reset();
            });
        if (slot.is_connected()) {
          slot.assign([engine, ticket](boost::asio::cancellation_type) { engine->cancel(ticket); });
        }
      },
      boost::asio::use_awaitable, std::move(component), std::move(invocation));
  co_return outcome;
}

}  // namespace alga::runner
