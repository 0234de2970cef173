#include "tests/simulated/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam::simulated {

using Order = Schedule::Order;

std::string Schedule::name() const {
  switch (order) {
    case Order::at_once: return "at once";
    case Order::late: return "late";
    case Order::others_first: return "others first";
    case Order::random: break;
  }
  return "random " + std::to_string(seed);
}

std::vector<Schedule> schedules(int count) {
  require(count >= 3, "the extremes");
  std::vector<Schedule> list{{Order::at_once}, {Order::late}, {Order::others_first}};
  for (uint32_t seed = 1; list.size() < to_size(count); ++seed) {
    list.push_back({Order::random, seed});
  }
  return list;
}

void Scheduler::begin(const Schedule& schedule) {
  run_all();
  schedule_ = schedule;
  random_.seed(schedule.seed);
  // Some devices do little before they have to, some most of it.
  keenness_ = static_cast<uint32_t>(random_() % 4);
  for (const auto& queue : queues_) queue->speed_ = draw_speed();
}

uint32_t Scheduler::draw_speed() {
  constexpr uint32_t kSpeeds[] = {1, 8, 64};
  return kSpeeds[random_() % std::size(kSpeeds)];
}

WorkQueue& Scheduler::add() {
  queues_.push_back(std::make_unique<WorkQueue>());
  queues_.back()->speed_ = draw_speed();
  return *queues_.back();
}

void Scheduler::close(WorkQueue& queue) {
  queue.closed_ = true;
  // And those that were closed before and have finished since.
  std::erase_if(queues_, [](const auto& q) { return q->closed_ && q->items_.empty(); });
}

void Scheduler::push(WorkQueue& queue, Item item) {
  queue.items_.push_back(std::move(item));
  if (schedule_.order == Order::at_once) run_all();
  if (schedule_.order == Order::random) run_ahead();
}

void Scheduler::run_until(const Point& point) {
  while (!point.done) run_next(choose(point));
  if (schedule_.order == Order::random) run_ahead();
}

void Scheduler::run_all() {
  while (WorkQueue* queue = draw_ready()) run_next(*queue);
  // Whatever an item waits for was queued before it.
  for (const auto& queue : queues_) require(queue->items_.empty(), "work that can be done");
}

WorkQueue& Scheduler::needed_for(const Point& point) {
  const Point* next = &point;
  for (;;) {
    const auto queue = std::find_if(queues_.begin(), queues_.end(),
                                    [&](const auto& q) { return q.get() == next->queue; });
    require(queue != queues_.end() && !(*queue)->items_.empty(), "a point that was queued");
    if ((*queue)->ready()) return **queue;
    next = (*queue)->items_.front().after.get();
  }
}

WorkQueue& Scheduler::choose(const Point& point) {
  if (schedule_.order == Order::others_first) {
    for (const auto& queue : queues_) {
      if (queue.get() != point.queue && queue->ready()) return *queue;
    }
  }
  if (schedule_.order == Order::random) {
    if (WorkQueue* drawn = draw_ready()) return *drawn;
  }
  return needed_for(point);
}

WorkQueue* Scheduler::draw_ready() {
  uint32_t sum = 0;
  for (const auto& queue : queues_) sum += queue->ready() ? queue->speed_ : 0;
  if (sum == 0) return nullptr;
  auto drawn = static_cast<uint32_t>(random_() % sum);
  for (const auto& queue : queues_) {
    if (!queue->ready()) continue;
    if (drawn < queue->speed_) return queue.get();
    drawn -= queue->speed_;
  }
  return nullptr;
}

void Scheduler::run_ahead() {
  while (random_() % 4 < keenness_) {
    WorkQueue* queue = draw_ready();
    if (queue == nullptr) return;
    run_next(*queue);
  }
}

void Scheduler::run_next(WorkQueue& queue) {
  const Item item = std::move(queue.items_.front());
  queue.items_.pop_front();
  if (item.work != nullptr) (*item.work)();
  if (item.point == nullptr) return;
  item.point->done = true;
  item.point->when = std::chrono::steady_clock::now();
}

}  // namespace macadam::simulated
