#include "control_plane/record_writer.h"

#include "async/await_callback.h"
#include "async/thread_name.h"
#include "control_plane/record_rows.h"

namespace alga::control_plane {
namespace {

/// How long one batch may take before the database counts as unavailable.
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kPause{200};

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

Status store_one(sql::Executor& sql, const Core& core, const RecordWriter::Item& item) {
  return std::visit(
      Overloaded{
          [&](const RecordWriter::Starting& it) { return insert_started(sql, it.execution); },
          [&](const domain::FinishedExecution& it) { return update_finished(sql, it); },
          [&](const domain::ExecutionRecord& it) { return insert_execution(sql, it); },
          [&](const domain::GuestLogLine& it) { return insert_guest_log(sql, core, it); },
          [&](const domain::CapabilityEvent& it) { return insert_capability(sql, core, it); },
      },
      item);
}

void answer(RecordWriter::Item& item, const Status& status) {
  auto* starting = std::get_if<RecordWriter::Starting>(&item);
  if (starting == nullptr || !starting->done) return;
  auto done = std::move(starting->done);
  if (status) {
    (*done)({});
  } else {
    (*done)(fail(
        Error{Kind::unavailable, "records.unavailable", "the execution log cannot be written", 1}));
  }
}

bool is_trouble_of_the_database(const Error& error) {
  return error.kind == Kind::unavailable || error.kind == Kind::timeout;
}

}  // namespace

RecordWriter::RecordWriter(const Core& core, Bounds bounds)
    : core_(core),
      bounds_(bounds),
      written_(core.deps().metrics->counter("alga_records_written_total",
                                            "Records of executions that were stored")),
      dropped_(core.deps().metrics->counter("alga_records_dropped_total",
                                            "Records of executions that were lost")),
      thread_([this] { run(); }) {}

RecordWriter::~RecordWriter() { stop(sql::within(kPatience)); }

bool RecordWriter::take(Item item) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= bounds_.queue) {
      dropped_.add();
      return false;
    }
    queue_.push_back(std::move(item));
    ++taken_;
  }
  wake_.notify_one();
  return true;
}

void RecordWriter::execution(domain::ExecutionRecord record) noexcept { take(std::move(record)); }
void RecordWriter::guest_log(domain::GuestLogLine line) noexcept { take(std::move(line)); }
void RecordWriter::capability(domain::CapabilityEvent event) noexcept { take(std::move(event)); }
void RecordWriter::finish(domain::FinishedExecution execution) noexcept {
  take(std::move(execution));
}

async::Task<Status> RecordWriter::start(domain::StartedExecution execution) {
  co_return co_await async::await_callback<void>([this, &execution](Callback<void> done) {
    Starting starting{std::move(execution), std::make_shared<Callback<void>>(std::move(done))};
    auto answer_to = starting.done;
    if (!take(std::move(starting))) {
      (*answer_to)(fail(
          Error{Kind::unavailable, "records.unavailable", "the execution log has no room", 1}));
    }
  });
}

bool RecordWriter::flush(SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  std::uint64_t until = taken_;
  return idle_.wait_until(lock, deadline, [&] { return settled_ >= until; });
}

void RecordWriter::stop(SteadyTime deadline) {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    give_up_ = deadline;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void RecordWriter::run() {
  async::name_this_thread("records");
  while (true) {
    std::vector<Item> batch;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      while (!queue_.empty() && batch.size() < bounds_.batch) {
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    std::size_t size = batch.size();
    write(std::move(batch));
    {
      std::lock_guard lock(mutex_);
      settled_ += size;
    }
    idle_.notify_all();
  }
}

Status RecordWriter::store(const std::vector<Item>& batch) {
  return core_.db().write(
      [&](sql::Executor& sql) -> Status {
        for (const Item& item : batch) TRY_VOID(store_one(sql, core_, item));
        return {};
      },
      {.deadline = sql::within(kPatience), .durable = sql::Durable::no});
}

void RecordWriter::write(std::vector<Item> batch) {
  while (true) {
    Status stored = store(batch);
    if (stored) {
      written_.add(static_cast<double>(batch.size()));
      for (Item& item : batch) answer(item, stored);
      return;
    }
    if (!is_trouble_of_the_database(stored.error())) return write_singly(batch);
    core_.log().warn("records wait for the database", {{"code", stored.error().code}});
    // Nobody runs a guest without its row, so those who wait for one are told at once; the rest
    // is kept until the database is back.
    std::vector<Item> rest;
    for (Item& item : batch) {
      if (std::holds_alternative<Starting>(item)) {
        answer(item, stored);
      } else {
        rest.push_back(std::move(item));
      }
    }
    batch = std::move(rest);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, kPause, [&] { return stopping_; });
    if (stopping_ && std::chrono::steady_clock::now() >= give_up_) {
      dropped_.add(static_cast<double>(batch.size()));
      return;
    }
    if (batch.empty()) return;
  }
}

void RecordWriter::write_singly(std::vector<Item>& batch) {
  for (Item& item : batch) {
    std::vector<Item> one;
    one.push_back(std::move(item));
    Status stored = store(one);
    (stored ? written_ : dropped_).add();
    if (!stored) core_.log().error("a record was refused", {{"code", stored.error().code}});
    answer(one.front(), stored);
  }
}

}  // namespace alga::control_plane
