#include "server/service/batcher.h"

#include <algorithm>

#include "base/error.h"
#include "base/to_size.h"

namespace macadam {

namespace {

/// How often it is looked for jobs that wait in vain.
constexpr std::chrono::milliseconds kSweep{20};

void end(Job& job, JobEnd how) {
  job.end = how;
  job.ended();
}

}  // namespace

bool Job::gives_up() {
  if (gave_up_) return true;
  if (stopping_ != nullptr && *stopping_) {
    gave_up_ = JobEnd::stopped;
  } else if (deadline <= Clock::now()) {
    gave_up_ = JobEnd::expired;
  } else if (abandoned()) {
    gave_up_ = JobEnd::abandoned;
  }
  return gave_up_.has_value();
}

Batcher::Batcher(const BatcherOptions& options, Run run) : options_(options), run_(std::move(run)) {
  require(options.replicas >= 1 && options.max_batch >= 1, "a batch of something, somewhere");
  for (int i = 0; i < options.replicas; ++i) threads_.emplace_back([this, i] { work(i); });
  threads_.emplace_back([this] { sweep(); });
}

void Batcher::stop() {
  std::deque<std::unique_ptr<Job>> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    left.swap(waiting_);
  }
  arrived_.notify_all();
  stopped_.notify_all();
  for (const auto& job : left) end(*job, JobEnd::stopped);
  threads_.clear();
}

void Batcher::submit(std::unique_ptr<Job> job) {
  job->queued = Clock::now();
  std::unique_lock lock(mutex_);
  if (stopping_) {
    lock.unlock();
    end(*job, JobEnd::stopped);
    return;
  }
  waiting_.push_back(std::move(job));
  lock.unlock();          // whoever wakes need not wait for it
  arrived_.notify_all();  // one alone could be waiting for jobs of another group
}

size_t Batcher::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

void Batcher::gather(Jobs& batch) {
  const void* const group = batch.front()->group;
  if (group == nullptr) return;
  for (auto job = waiting_.begin();
       job != waiting_.end() && batch.size() < to_size(options_.max_batch);) {
    if ((*job)->group == group) {
      batch.push_back(std::move(*job));
      job = waiting_.erase(job);
    } else {
      ++job;
    }
  }
}

Batcher::Jobs Batcher::take_vain() {
  Jobs vain;
  const auto now = Clock::now();
  for (auto job = waiting_.begin(); job != waiting_.end();) {
    const bool expired = (*job)->deadline <= now;
    if (!expired && !(*job)->abandoned()) {
      ++job;
      continue;
    }
    (*job)->end = expired ? JobEnd::expired : JobEnd::abandoned;
    vain.push_back(std::move(*job));
    job = waiting_.erase(job);
  }
  return vain;
}

void Batcher::sweep() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    stopped_.wait_for(lock, kSweep);
    try {
      const Jobs vain = take_vain();
      if (vain.empty()) continue;
      lock.unlock();
      for (const auto& job : vain) job->ended();
    } catch (const std::exception&) {
      // As in work().
    }
    if (!lock.owns_lock()) lock.lock();
  }
}

Batcher::Jobs Batcher::take() {
  Jobs batch;
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
  if (stopping_) return batch;
  batch.push_back(std::move(waiting_.front()));
  waiting_.pop_front();
  gather(batch);
  const auto full = [&] { return batch.size() >= to_size(options_.max_batch); };
  const auto patience = batch.front()->queued + options_.max_delay;
  while (batch.front()->group != nullptr && !full() && !stopping_ && Clock::now() < patience) {
    arrived_.wait_until(lock, patience);
    gather(batch);
  }
  return batch;
}

void Batcher::attempt(int replica, std::span<Job* const> jobs) {
  const auto begun = Clock::now();
  for (Job* const job : jobs) {
    job->begun = begun;
    job->batch = static_cast<int>(jobs.size());
    job->stopping_ = &stopping_;
  }
  try {
    run_(replica, jobs);
    for (Job* const job : jobs) job->end = JobEnd::done;
  } catch (const std::exception& error) {
    for (Job* const job : jobs) {
      job->end = job->gave_up_.value_or(JobEnd::failed);
      job->fault = error.what();
    }
  }
  const auto finished = Clock::now();
  for (Job* const job : jobs) job->finished = finished;
}

void Batcher::run(int replica, Jobs& batch) {
  std::vector<Job*> jobs;
  const auto now = Clock::now();
  for (const auto& job : batch) {
    if (job->deadline <= now) {
      end(*job, JobEnd::expired);
    } else if (job->abandoned()) {
      end(*job, JobEnd::abandoned);
    } else {
      jobs.push_back(job.get());
    }
  }
  if (jobs.empty()) return;
  attempt(replica, jobs);
  if (jobs.size() > 1 && jobs.front()->end == JobEnd::failed) {
    for (Job* const job : jobs) {
      const std::span one(&job, 1);
      attempt(replica, one);
    }
  }
  for (Job* const job : jobs) job->ended();
}

void Batcher::work(int replica) {
  for (;;) {
    try {
      Jobs batch = take();  // gone before the next is waited for: it holds connections
      if (batch.empty()) return;
      run(replica, batch);
    } catch (const std::exception&) {
      // For want of memory: jobs that were taken are gone without ended().
    }
  }
}

}  // namespace macadam
