#include "server/service/worker_pool.h"

#include "base/error.h"

namespace macadam {

WorkerPool::WorkerPool(int threads) {
  require(threads >= 1, "a pool has threads");
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

void WorkerPool::stop() {
  std::deque<std::function<void()>> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    left.swap(waiting_);
  }
  arrived_.notify_all();
  threads_.clear();
}

void WorkerPool::post(std::function<void()> work) {
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    work();
    return;
  }
  waiting_.push_back(std::move(work));
  lock.unlock();  // whoever wakes need not wait for it
  arrived_.notify_one();
}

void WorkerPool::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    try {
      work();
    } catch (const std::exception&) {
      // For want of memory: what it would have answered is answered when it is gone.
    }
  }
}

}  // namespace macadam
