#include "egress/curl_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "async/thread_name.h"

namespace alga::egress {
namespace {

using Done = CurlLoop::Done;

struct StartCommand {
  std::uint64_t id;
  TransferSpec spec;
  std::string pool;
  Done done;
};
struct RejectCommand {
  Error error;
  Done done;
};
struct CancelCommand {
  std::uint64_t id;
};
using Command = std::variant<StartCommand, RejectCommand, CancelCommand>;

std::unexpected<Error> cancelled() {
  return fail(Kind::unavailable, "egress.cancelled", "the request was cancelled");
}

}  // namespace

class CurlLoop::Thread {
 public:
  /// A curl multi handle: connections that may be shared with one another, and with nobody else.
  struct Pool {
    Thread* loop = nullptr;
    CURLM* multi = nullptr;
    std::optional<SteadyTime> timer;
    std::size_t active = 0;
    std::size_t lookups = 0;
    std::string owner;
    SteadyTime last_used;
  };

  Thread(CurlLoopOptions options, Metrics& metrics);
  ~Thread();

  void post(Command command);
  std::uint64_t next_id() { return next_id_.fetch_add(1); }

 private:
  struct Running {
    std::unique_ptr<Transfer> transfer;
    CURL* easy = nullptr;
    Pool* pool = nullptr;
    Done done;  ///< none: nobody waits for it any more
    SteadyTime deadline;
    bool looking_up = true;
  };

  static int on_socket(CURL* easy, curl_socket_t socket, int what, void* pool, void* assigned);
  static int on_timer(CURLM* multi, long timeout_ms, void* pool);

  void run();
  [[nodiscard]] int patience() const;
  void execute(std::vector<Command> commands);
  void admit(StartCommand command);
  void start_waiting();
  void start(StartCommand command, Pool& pool);
  [[nodiscard]] bool has_room(const Pool& pool) const;
  void looked_up(Running& running);
  void cancel(std::uint64_t id);
  void set_deadline(std::uint64_t id, Running& running, SteadyTime deadline);
  void expire_deadlines();
  void end_early(std::uint64_t id, Result<domain::HttpResponse> outcome);
  void expire_timers();
  void act(Pool* pool, curl_socket_t socket, int events);
  void collect(Pool* pool);
  void complete(std::uint64_t id, Result<domain::HttpResponse> outcome);
  Pool& pool_for(const std::string& key);
  void close_idle_pools();
  void close_pool(Pool& pool);

  const CurlLoopOptions options_;
  Gauge& in_flight_;
  Gauge& open_pools_;
  Gauge& looking_up_;
  Counter& finished_;
  Counter& failed_;
  int epoll_ = -1;
  int wake_ = -1;
  std::atomic<std::uint64_t> next_id_{1};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<Command> commands_;  // guarded by mutex_

  // Below: the loop's thread only.
  std::unordered_map<std::string, std::unique_ptr<Pool>> pools_;
  std::unordered_map<curl_socket_t, Pool*> sockets_;
  std::unordered_map<std::uint64_t, Running> running_;
  std::list<StartCommand> waiting_;                          // for a lookup or a connection to end
  std::unordered_map<std::string, std::size_t> lookups_of_;  // by owner, none of 0
  std::size_t lookups_ = 0;
  std::size_t abandoned_ = 0;  // of running_: those whose lookup alone goes on
  std::set<std::pair<SteadyTime, std::uint64_t>> deadlines_;  // of the rest of running_
  std::thread thread_;
};

CurlLoop::Thread::Thread(CurlLoopOptions options, Metrics& metrics)
    : options_(options),
      in_flight_(metrics.gauge("alga_egress_in_flight", "Outgoing HTTP requests in progress")),
      open_pools_(metrics.gauge("alga_egress_pools", "Connection pools of outgoing requests")),
      looking_up_(
          metrics.gauge("alga_egress_lookups",
                        "Outgoing HTTP requests that have no connection yet, and lookups of "
                        "names that nobody waits for any more")),
      finished_(metrics.counter("alga_egress_requests_total", "Outgoing HTTP requests that ended",
                                {{"outcome", "answered"}})),
      failed_(metrics.counter("alga_egress_requests_total", "Outgoing HTTP requests that ended",
                              {{"outcome", "failed"}})) {
  static std::once_flag once;
  std::call_once(once, [] { ALGA_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ALGA_CHECK(epoll_ >= 0 && wake_ >= 0);
  epoll_event event{.events = EPOLLIN, .data = {.fd = wake_}};
  ALGA_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0);
  thread_ = std::thread([this] {
    async::name_this_thread("egress");
    run();
  });
}

CurlLoop::Thread::~Thread() {
  stop_ = true;
  const std::uint64_t one = 1;
  ALGA_CHECK(::write(wake_, &one, sizeof one) == sizeof one);
  thread_.join();
  ::close(wake_);
  ::close(epoll_);
}

void CurlLoop::Thread::post(Command command) {
  {
    const std::scoped_lock lock(mutex_);
    commands_.push_back(std::move(command));
    if (commands_.size() > 1) return;  // whoever came first has rung
  }
  const std::uint64_t one = 1;
  ALGA_CHECK(::write(wake_, &one, sizeof one) == sizeof one);
}

void CurlLoop::Thread::run() {
  std::array<epoll_event, 256> events{};
  while (!stop_) {
    const int ready = ::epoll_wait(epoll_, events.data(), events.size(), patience());
    expire_deadlines();
    for (int i = 0; i < ready; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.fd == wake_) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto got = ::read(wake_, &count, sizeof count);
        continue;
      }
      // A socket that was closed meanwhile is gone from the table; one that took its number gets
      // a wake-up too many, which curl does not mind.
      auto owner = sockets_.find(event.data.fd);
      if (owner == sockets_.end()) continue;
      int what = 0;
      if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
      if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
      if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_ERR;
      act(owner->second, event.data.fd, what);
    }
    expire_timers();
    std::vector<Command> commands;
    {
      const std::scoped_lock lock(mutex_);
      commands.swap(commands_);
    }
    execute(std::move(commands));
    start_waiting();
    close_idle_pools();
    in_flight_.set(static_cast<double>(running_.size() - abandoned_ + waiting_.size()));
    looking_up_.set(static_cast<double>(lookups_));
    open_pools_.set(static_cast<double>(pools_.size()));
  }
  std::vector<Command> commands;
  {
    const std::scoped_lock lock(mutex_);
    commands.swap(commands_);
  }
  execute(std::move(commands));
  while (!running_.empty()) complete(running_.begin()->first, cancelled());
  while (!waiting_.empty()) cancel(waiting_.front().id);
  for (auto& [key, pool] : pools_) close_pool(*pool);
}

int CurlLoop::Thread::patience() const {
  std::optional<SteadyTime> first;
  if (!deadlines_.empty()) first = deadlines_.begin()->first;
  for (const auto& [key, pool] : pools_) {
    const std::optional<SteadyTime>& timer = pool->timer;
    if (timer && (!first || *timer < *first)) first = timer;
  }
  for (const StartCommand& command : waiting_) {
    if (!first || command.spec.deadline < *first) first = command.spec.deadline;
  }
  if (!first) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*first - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

void CurlLoop::Thread::execute(std::vector<Command> commands) {
  for (Command& command : commands) {
    if (auto* begin = std::get_if<StartCommand>(&command)) {
      admit(std::move(*begin));
    } else if (auto* reject = std::get_if<RejectCommand>(&command)) {
      failed_.add();
      reject->done(fail(std::move(reject->error)));
    } else {
      cancel(std::get<CancelCommand>(command).id);
    }
  }
}

void CurlLoop::Thread::admit(StartCommand command) {
  if (running_.size() - abandoned_ + waiting_.size() >= options_.max_in_flight) {
    Error error{Kind::unavailable, "egress.overloaded", "too many outgoing requests"};
    error.retry_after_s = 1;
    failed_.add();
    command.done(fail(std::move(error)));
    return;
  }
  waiting_.push_back(std::move(command));
}

/// A transfer that curl itself let wait for a connection would hold a place among the lookups.
bool CurlLoop::Thread::has_room(const Pool& pool) const {
  const auto owner = lookups_of_.find(pool.owner);
  return pool.active < options_.max_pool_connections && pool.lookups < options_.max_pool_lookups &&
         (owner == lookups_of_.end() || owner->second < options_.max_owner_lookups);
}

/// In the order of arrival, but for pools and owners that have used up their share.
void CurlLoop::Thread::start_waiting() {
  const SteadyTime now = std::chrono::steady_clock::now();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    if (it->spec.deadline <= now) {
      failed_.add();
      it->done(fail(Kind::timeout, "egress.timeout", "the deadline has passed"));
      it = waiting_.erase(it);
      continue;
    }
    if (lookups_ < options_.max_lookups) {
      Pool& pool = pool_for(it->pool);
      if (has_room(pool)) {
        start(std::move(*it), pool);
        it = waiting_.erase(it);
        continue;
      }
    }
    ++it;
  }
}

void CurlLoop::Thread::start(StartCommand command, Pool& pool) {
  CURL* easy = curl_easy_init();
  ALGA_CHECK(easy != nullptr);
  const SteadyTime deadline = command.spec.deadline;
  auto transfer = std::make_unique<Transfer>(std::move(command.spec));
  if (Status prepared = transfer->prepare(easy, Transfer::EndedBy::loop); !prepared) {
    curl_easy_cleanup(easy);
    failed_.add();
    command.done(fail(std::move(prepared).error()));
    return;
  }
  curl_easy_setopt(easy, CURLOPT_PRIVATE, reinterpret_cast<void*>(command.id));
  auto placed = running_.emplace(
      command.id, Running{std::move(transfer), easy, &pool, std::move(command.done), {}});
  Running& running = placed.first->second;  // stays where it is until it is extracted
  running.deadline = std::min(deadline, std::chrono::steady_clock::now() + connect_timeout);
  deadlines_.emplace(running.deadline, command.id);
  running.transfer->when_resolved([this, &running, id = command.id, deadline] {
    if (running.done) set_deadline(id, running, deadline);
    looked_up(running);
  });
  ++pool.active;
  ++pool.lookups;
  ++lookups_of_[pool.owner];
  ++lookups_;
  ALGA_CHECK(curl_multi_add_handle(pool.multi, easy) == CURLM_OK);
}

void CurlLoop::Thread::looked_up(Running& running) {
  if (!std::exchange(running.looking_up, false)) return;
  --running.pool->lookups;
  const auto owner = lookups_of_.find(running.pool->owner);
  if (--owner->second == 0) lookups_of_.erase(owner);
  --lookups_;
}

void CurlLoop::Thread::set_deadline(std::uint64_t id, Running& running, SteadyTime deadline) {
  deadlines_.erase({running.deadline, id});
  running.deadline = deadline;
  deadlines_.emplace(deadline, id);
}

void CurlLoop::Thread::expire_deadlines() {
  const SteadyTime now = std::chrono::steady_clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const std::uint64_t id = deadlines_.begin()->second;
    end_early(id, running_.at(id).transfer->finish(running_.at(id).easy, CURLE_OPERATION_TIMEDOUT));
  }
}

/// A lookup cannot be stopped: curl would forget its thread and let it run. So a transfer whose
/// name is being looked up answers, and stays until that is done, with its place among the lookups.
void CurlLoop::Thread::end_early(std::uint64_t id, Result<domain::HttpResponse> outcome) {
  Running& running = running_.at(id);
  if (!running.done) return;
  if (!running.transfer->is_resolving()) return complete(id, std::move(outcome));
  running.transfer->abandon();
  deadlines_.erase({running.deadline, id});
  ++abandoned_;
  failed_.add();
  std::exchange(running.done, nullptr)(std::move(outcome));
}

void CurlLoop::Thread::cancel(std::uint64_t id) {
  if (running_.contains(id)) {
    end_early(id, cancelled());
    return;
  }
  auto found = std::ranges::find(waiting_, id, &StartCommand::id);
  if (found == waiting_.end()) return;
  Done done = std::move(found->done);
  waiting_.erase(found);
  failed_.add();
  done(cancelled());
}

void CurlLoop::Thread::expire_timers() {
  const SteadyTime now = std::chrono::steady_clock::now();
  std::vector<Pool*> due;
  for (auto& [key, pool] : pools_) {
    const std::optional<SteadyTime>& timer = pool->timer;
    if (timer && *timer <= now) due.push_back(pool.get());
  }
  for (Pool* pool : due) {
    pool->timer.reset();
    act(pool, CURL_SOCKET_TIMEOUT, 0);
  }
}

void CurlLoop::Thread::act(Pool* pool, curl_socket_t socket, int events) {
  int still = 0;
  curl_multi_socket_action(pool->multi, socket, events, &still);
  collect(pool);
}

void CurlLoop::Thread::collect(Pool* pool) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(pool->multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message dies with the next call
    void* tag = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &tag);
    const auto id = reinterpret_cast<std::uint64_t>(tag);
    auto found = running_.find(id);
    if (found == running_.end()) continue;
    complete(id, found->second.transfer->finish(easy, code));
  }
}

void CurlLoop::Thread::complete(std::uint64_t id, Result<domain::HttpResponse> outcome) {
  auto node = running_.extract(id);
  Running& ended = node.mapped();
  looked_up(ended);
  deadlines_.erase({ended.deadline, id});
  curl_multi_remove_handle(ended.pool->multi, ended.easy);
  curl_easy_cleanup(ended.easy);
  --ended.pool->active;
  ended.pool->last_used = std::chrono::steady_clock::now();
  if (!ended.done) {
    --abandoned_;
    return;
  }
  (outcome ? finished_ : failed_).add();
  ended.done(std::move(outcome));
}

CurlLoop::Thread::Pool& CurlLoop::Thread::pool_for(const std::string& key) {
  auto& slot = pools_[key];
  if (!slot) {
    slot = std::make_unique<Pool>();
    slot->loop = this;
    slot->owner = key.substr(0, key.find('/'));
    slot->multi = curl_multi_init();
    ALGA_CHECK(slot->multi != nullptr);
    curl_multi_setopt(slot->multi, CURLMOPT_SOCKETFUNCTION, &Thread::on_socket);
    curl_multi_setopt(slot->multi, CURLMOPT_SOCKETDATA, slot.get());
    curl_multi_setopt(slot->multi, CURLMOPT_TIMERFUNCTION, &Thread::on_timer);
    curl_multi_setopt(slot->multi, CURLMOPT_TIMERDATA, slot.get());
    curl_multi_setopt(slot->multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    curl_multi_setopt(slot->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                      static_cast<long>(options_.max_pool_connections));
    curl_multi_setopt(slot->multi, CURLMOPT_MAXCONNECTS,
                      static_cast<long>(options_.max_pool_idle_connections));
  }
  slot->last_used = std::chrono::steady_clock::now();
  return *slot;
}

void CurlLoop::Thread::close_idle_pools() {
  while (pools_.size() > options_.max_pools) {
    auto oldest = pools_.end();
    for (auto it = pools_.begin(); it != pools_.end(); ++it) {
      if (it->second->active > 0) continue;
      if (oldest == pools_.end() || it->second->last_used < oldest->second->last_used) oldest = it;
    }
    if (oldest == pools_.end()) return;
    close_pool(*oldest->second);
    pools_.erase(oldest);
  }
}

void CurlLoop::Thread::close_pool(Pool& pool) {
  curl_multi_cleanup(pool.multi);
  std::erase_if(sockets_, [&](const auto& entry) { return entry.second == &pool; });
}

int CurlLoop::Thread::on_socket(CURL*, curl_socket_t socket, int what, void* pool, void*) {
  auto* owner = static_cast<Pool*>(pool);
  Thread& loop = *owner->loop;
  if (what == CURL_POLL_REMOVE) {
    loop.sockets_.erase(socket);
    ::epoll_ctl(loop.epoll_, EPOLL_CTL_DEL, socket, nullptr);
    return 0;
  }
  loop.sockets_[socket] = owner;
  epoll_event event{.events = 0, .data = {.fd = socket}};
  if ((what & CURL_POLL_IN) != 0) event.events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) event.events |= EPOLLOUT;
  if (::epoll_ctl(loop.epoll_, EPOLL_CTL_MOD, socket, &event) == 0) return 0;
  return ::epoll_ctl(loop.epoll_, EPOLL_CTL_ADD, socket, &event);
}

int CurlLoop::Thread::on_timer(CURLM*, long timeout_ms, void* pool) {
  auto& timer = static_cast<Pool*>(pool)->timer;
  if (timeout_ms < 0) {
    timer.reset();
  } else {
    timer = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  }
  return 0;
}

CurlLoop::CurlLoop(CurlLoopOptions options, Metrics& metrics)
    : thread_(std::make_unique<Thread>(options, metrics)) {}

CurlLoop::~CurlLoop() = default;

std::uint64_t CurlLoop::start(TransferSpec spec, std::string pool, Done done) {
  const std::uint64_t id = thread_->next_id();
  thread_->post(StartCommand{id, std::move(spec), std::move(pool), std::move(done)});
  return id;
}

std::uint64_t CurlLoop::reject(Error error, Done done) {
  thread_->post(RejectCommand{std::move(error), std::move(done)});
  return thread_->next_id();
}

void CurlLoop::cancel(std::uint64_t id) { thread_->post(CancelCommand{id}); }

}  // namespace alga::egress
