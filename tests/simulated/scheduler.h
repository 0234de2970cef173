#pragma once
// Queues of work, and the choice of what runs next among them.

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "tests/simulated/schedule.h"

namespace macadam::simulated {

class WorkQueue;

/// A place in a queue, done when everything before it is.
struct Point {
  const WorkQueue* queue;
  bool done = false;
  std::chrono::steady_clock::time_point when{};  // it was done
};

using Work = std::shared_ptr<const std::function<void()>>;

/// An entry of a queue; any of the three may be null.
struct Item {
  std::shared_ptr<const Point> after;  // begins when this is done
  Work work;
  std::shared_ptr<Point> point;  // done at the end
};

/// The work of one stream, in order.
class WorkQueue {
 public:
  WorkQueue() = default;
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

 private:
  friend class Scheduler;

  bool ready() const {
    return !items_.empty() && (items_.front().after == nullptr || items_.front().after->done);
  }

  std::deque<Item> items_;
  uint32_t speed_ = 1;  // the odds that it is chosen, against others
  bool closed_ = false;
};

/// Not thread-safe. What an item throws leaves the function that ran it; the item is done then.
class Scheduler {
 public:
  /// Changes the schedule, when everything that was queued is done.
  void begin(const Schedule& schedule);

  WorkQueue& add();
  /// The queue takes no more work; what it has still runs, and then it goes.
  void close(WorkQueue& queue);
  /// Queues an item, and runs what the schedule wants to run meanwhile. Requires that the points
  /// that it waits for were queued before.
  void push(WorkQueue& queue, Item item);
  /// Runs work until the point is done; the schedule decides what besides. Requires a queued point.
  void run_until(const Point& point);
  void run_all();

 private:
  /// The queue whose next item must run before the point is done, and may run now.
  WorkQueue& needed_for(const Point& point);
  WorkQueue& choose(const Point& point);
  uint32_t draw_speed();
  /// A queue that may go on, drawn by speed; null: there is none.
  WorkQueue* draw_ready();
  /// Runs a random number of items.
  void run_ahead();
  void run_next(WorkQueue& queue);

  Schedule schedule_;
  std::mt19937 random_;
  uint32_t keenness_ = 0;  // out of 4: the odds that another item runs, without need
  std::vector<std::unique_ptr<WorkQueue>> queues_;
};

}  // namespace macadam::simulated
