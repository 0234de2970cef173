#include "engine/infer/inference_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"

namespace macadam {

/// One stream's plans. Whoever made it busy uses its context, nobody else.
struct InferencePool::Replica {
  explicit Replica(Device device) : context(device) {}

  DeviceContext context;
  std::map<size_t, Entry> entries;  // by bucket
  bool busy = false;
};

/// A busy replica, and the plan of it that runs.
class InferencePool::Lease {
 public:
  /// Requires a free replica and mutex_.
  Lease(InferencePool& pool, Replica& replica) : pool_(pool), replica_(replica) {
    replica.busy = true;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    std::vector<std::unique_ptr<Classifier>> surplus;
    {
      const std::lock_guard lock(pool_.mutex_);
      if (entry_ != nullptr) --entry_->users;
      replica_.busy = false;
      surplus = pool_.take_surplus();
    }
    pool_.freed_.notify_all();
  }

  // The plan of a bucket, from now on the one that runs:

  /// Null: not made yet.
  Classifier* find(size_t bucket) {
    const std::lock_guard lock(pool_.mutex_);
    const auto found = replica_.entries.find(bucket);
    if (found == replica_.entries.end()) return nullptr;
    use(found->second);
    return found->second.classifier.get();
  }
  Classifier* make(size_t bucket) {
    const std::lock_guard making(pool_.making_);
    auto made = pool_.make(replica_, pool_.options_.buckets[bucket]);
    std::vector<std::unique_ptr<Classifier>> surplus;  // destroyed after `lock`
    const std::lock_guard lock(pool_.mutex_);
    ++pool_.counts_.made;
    Entry& entry = replica_.entries[bucket];
    entry.classifier = std::move(made);
    use(entry);
    surplus = pool_.take_surplus();
    return entry.classifier.get();
  }

 private:
  void use(Entry& entry) {
    if (entry_ != nullptr) --entry_->users;
    entry_ = &entry;
    ++entry.users;
    entry.last_use = ++pool_.clock_;
  }

  InferencePool& pool_;
  Replica& replica_;
  Entry* entry_ = nullptr;
};

InferencePool::InferencePool(GraphBuilder build, Parameters& parameters, Device device,
                             InferencePoolOptions options)
    : build_(std::move(build)),
      parameters_(parameters),
      device_(device),
      options_(std::move(options)),
      weights_(parameters, options_.dtype, device) {
  require(options_.replicas > 0, "at least one replica");
  if (options_.buckets.empty()) {
    throw InputError("no image size to serve", "buckets", "name at least one");
  }
  for (const Shape& bucket : options_.buckets) {
    require(bucket.n > 0 && bucket.h > 0 && bucket.w > 0 && bucket.c == 3, "buckets of RGB images");
  }
  for (int i = 0; i < options_.replicas; ++i) {
    replicas_.push_back(std::make_unique<Replica>(device));
  }
}

InferencePool::~InferencePool() = default;

size_t InferencePool::bucket_index(int images, int height, int width) const {
  const std::vector<Shape>& buckets = options_.buckets;
  size_t best = buckets.size();
  for (size_t i = 0; i < buckets.size(); ++i) {
    const Shape& b = buckets[i];
    const bool holds = images <= b.n && height <= b.h && width <= b.w;
    if (holds && (best == buckets.size() || b.pixels() < buckets[best].pixels())) best = i;
  }
  if (best == buckets.size()) {
    throw InputError(
        "no bucket holds the batch",
        fmt::format("{} images of {} x {} pixels (width x height)", images, width, height),
        "send fewer or smaller images, or add a bucket");
  }
  return best;
}

const Shape& InferencePool::bucket_for(int images, int height, int width) const {
  return options_.buckets[bucket_index(images, height, width)];
}

template <typename Visit>
void InferencePool::for_each_plan(const Visit& visit) const {
  for (const auto& replica : replicas_) {
    for (auto& [bucket, entry] : replica->entries) visit(*replica, bucket, entry);
  }
}

size_t InferencePool::packed_bytes() const {
  std::set<const Buffer*> buffers;
  size_t sum = 0;
  for_each_plan([&](const Replica&, size_t, const Entry& entry) {
    for (const auto& buffer : entry.classifier->plan().weights().memory()) {
      if (buffers.insert(buffer.get()).second) sum += buffer->bytes();
    }
  });
  return sum;
}

size_t InferencePool::bytes() const {
  size_t sum = packed_bytes();
  for_each_plan(
      [&](const Replica&, size_t, const Entry& entry) { sum += entry.classifier->bytes(); });
  return sum;
}

std::vector<std::unique_ptr<Classifier>> InferencePool::take_surplus() {
  std::vector<std::unique_ptr<Classifier>> surplus;
  while (options_.memory_limit > 0 && bytes() > options_.memory_limit) {
    Replica* owner = nullptr;
    size_t oldest = 0;
    for_each_plan([&](Replica& replica, size_t bucket, const Entry& entry) {
      if (entry.users > 0) return;
      if (owner == nullptr || entry.last_use < owner->entries.at(oldest).last_use) {
        owner = &replica;
        oldest = bucket;
      }
    });
    if (owner == nullptr) break;
    surplus.push_back(std::move(owner->entries.at(oldest).classifier));
    owner->entries.erase(oldest);
    ++counts_.dropped;
  }
  return surplus;
}

std::unique_ptr<Classifier> InferencePool::make(Replica& replica, const Shape& bucket) {
  auto made = std::make_unique<Classifier>(
      build_(bucket), parameters_, weights_, replica.context,
      ClassifierOptions{options_.dtype, options_.normalization, options_.confidence});
  size_t alone = made->bytes();
  for (const auto& buffer : made->plan().weights().memory()) alone += buffer->bytes();
  if (options_.memory_limit > 0 && alone > options_.memory_limit) {
    constexpr double kMiB = 1048576;
    throw InputError(
        fmt::format("a batch {} takes {:.1f} MiB", bucket.text(),
                    static_cast<double>(alone) / kMiB),
        fmt::format("memory limit {:.1f} MiB", static_cast<double>(options_.memory_limit) / kMiB),
        "raise the limit, or serve smaller batches or images");
  }
  return made;
}

void InferencePool::run(Classifier& classifier, std::span<const InferenceImage> images) {
  std::unique_lock making(making_, std::defer_lock);
  if (!classifier.steady()) making.lock();
  classifier.run(images);
}

void InferencePool::run(std::span<const InferenceImage> images) {
  require(!images.empty(), "a batch of at least one image");
  int height = 0, width = 0;
  for (const InferenceImage& image : images) {
    height = std::max(height, image.height);
    width = std::max(width, image.width);
  }
  const size_t bucket = bucket_index(static_cast<int>(images.size()), height, width);

  std::unique_lock lock(mutex_);
  const auto best_free = [&] {
    Replica* best = nullptr;
    const auto rank = [&](const Replica& replica) {
      return replica.entries.contains(bucket) ? 0 : 1 + replica.entries.size();
    };
    for (const auto& replica : replicas_) {
      if (replica->busy) continue;
      if (best == nullptr || rank(*replica) < rank(*best)) best = replica.get();
    }
    return best;
  };
  freed_.wait(lock, [&] { return best_free() != nullptr; });
  Lease lease(*this, *best_free());
  lock.unlock();

  make_current(device_);
  Classifier* classifier = lease.find(bucket);
  const bool hit = classifier != nullptr;
  if (!hit) classifier = lease.make(bucket);
  run(*classifier, images);
  lock.lock();
  ++counts_.batches;
  counts_.hits += hit;
  counts_.images += static_cast<int64_t>(images.size());
  lock.unlock();
}

void InferencePool::prepare() {
  make_current(device_);
  for (const auto& replica : replicas_) {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return !replica->busy; });
    Lease lease(*this, *replica);
    lock.unlock();
    for (size_t bucket = 0; bucket < options_.buckets.size(); ++bucket) {
      Classifier* classifier = lease.find(bucket);
      if (classifier == nullptr) classifier = lease.make(bucket);
      // The first run loads code, the second is captured.
      for (int i = 0; i < 2; ++i) run(*classifier, {});
    }
  }
}

InferencePoolStatistics InferencePool::statistics() const {
  const std::lock_guard lock(mutex_);
  InferencePoolStatistics result = counts_;
  for_each_plan([&](const Replica&, size_t, const Entry&) { ++result.plans; });
  result.packed_bytes = packed_bytes();
  result.bytes = bytes();
  return result;
}

}  // namespace macadam
