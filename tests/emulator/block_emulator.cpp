#include "block_emulator.h"

#include <ucontext.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/to_size.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#elif __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace macadam::emulator {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

/// Shared memory that every GPU grants a block without being asked.
constexpr size_t kMostSharedBytes = 48 * 1024;

/// A flow of control that can be switched to, and what the sanitizers must know of it: one of the
/// stacks that threads run on, or (as constructed) the caller of the launch.
class Fibre {
 public:
  Fibre() = default;
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre() {
#if defined(__SANITIZE_THREAD__)
    if (stack_ && tsan_) __tsan_destroy_fiber(tsan_);
#endif
  }

  /// Makes it one that enters `entry` on a stack of its own.
  void prepare(void (*entry)()) {
    stack_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
    bottom_ = stack_.get();
    size_ = kStackBytes;
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_.get();
    context_.uc_stack.ss_size = kStackBytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
#if defined(__SANITIZE_THREAD__)
    tsan_ = __tsan_create_fiber(0);
#endif
  }

  /// Leaves this fibre, the running one, for `next`; returns when something switches back.
  void switch_to(Fibre& next) {
#if defined(__SANITIZE_THREAD__)
    if (!stack_) tsan_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(next.tsan_, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack_, next.bottom_, next.size_);
#endif
    next.caller_ = this;
    swapcontext(&context_, &next.context_);
    arrived();
  }

  /// To be called first on a new stack; switch_to does it where a fibre goes on.
  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(fake_stack_, &bottom, &size);
    if (caller_ != nullptr && !caller_->stack_) {
      caller_->bottom_ = bottom;
      caller_->size_ = size;
    }
#endif
  }

 private:
  ucontext_t context_{};
  std::unique_ptr<std::byte[]> stack_;  // null for the caller of the launch
  Fibre* caller_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] void* tsan_ = nullptr;
};

/// Thrown through the waiting threads of a block that is given up, to leave their stacks clean.
struct Abandoned {};

/// `fresh` threads have not begun, `idle` ones have ended.
enum class State : uint8_t {
  idle,
  fresh,
  ready,
  at_block_barrier,
  at_cluster_barrier,
  at_warp_operation
};

struct Thread {
  State state = State::idle;
  Fibre* fibre = nullptr;  // while it is neither fresh nor idle
  uint3 index{};
  int rank = 0;  // of its block
  Line where{};
  uint64_t bits = 0;                               // brought to a warp operation
  std::array<uint64_t, kWarpSize> warp_bits = {};  // what all lanes brought
};

std::string place(const Line& where) {
  const std::string file = where.file;
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line);
}

bool same(const Line& a, const Line& b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

struct SharedObject {
  const void* key;
  int rank;  // of the block whose it is
  size_t size;
  std::unique_ptr<std::byte, void (*)(std::byte*)> data;
  unsigned cluster;  // that filled it last
};

/// The cluster of blocks, most often one, that runs on this OS thread: its threads, fibres and
/// shared memory.
class Machine {
 public:
  static Machine& current() {
    static thread_local Machine machine;
    return machine;
  }

  void run(dim3 grid, dim3 block, int cluster, size_t shared_bytes,
           const std::function<void()>& body) {
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024) {
      throw EmulatorError("a block of " + std::to_string(threads) + " threads");
    }
    if (running_ != nullptr) throw EmulatorError("a launch from inside a kernel");
    if (cluster > 1 && (grid.x % to_size(cluster) != 0 || threads % kWarpSize != 0)) {
      throw EmulatorError("clusters of " + std::to_string(cluster) + " blocks of " +
                          std::to_string(threads) + " threads do not make up the grid");
    }
    body_ = &body;
    block_threads_ = threads;
    threads_.assign(threads * to_size(cluster), Thread{});
    for (size_t i = 0; i < threads_.size(); ++i) {
      const auto t = static_cast<unsigned>(i % threads);
      threads_[i].index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
      threads_[i].rank = static_cast<int>(i / threads);
    }
    shared_.clear();
    dynamic_bytes_ = shared_bytes;
    cluster_number_ = 0;
    position.threads = block;
    position.blocks = grid;
    const auto columns = grid.x / static_cast<unsigned>(cluster);
    const uint64_t clusters = uint64_t{columns} * grid.y * grid.z;
    const uint64_t step = step_between_blocks(clusters);
    uint64_t next = ++launch_ % std::max<uint64_t>(clusters, 1);
    for (uint64_t i = 0; i < clusters; ++i, next = (next + step) % clusters) {
      const auto x = static_cast<unsigned>(next % columns),
                 yz = static_cast<unsigned>(next / columns);
      first_block_ = {x * static_cast<unsigned>(cluster), yz % grid.y, yz / grid.y};
      ++cluster_number_;
      run_cluster();
    }
    shared_.clear();
  }

  void* object(const void* key, size_t size, size_t alignment) {
    return object_of(position.rank, key, size, alignment);
  }

  /// The same of another block of the cluster, which must not have left.
  void* other_object(int rank, const void* key, size_t size, size_t alignment) {
    if (rank < 0 || to_size(rank) * block_threads_ >= threads_.size()) {
      throw EmulatorError("shared memory of block " + std::to_string(rank) + " of a cluster");
    }
    if (all_at(State::idle, block_of(rank))) {
      throw EmulatorError("shared memory of a block that has left");
    }
    return object_of(rank, key, size, alignment);
  }

  void* dynamic() { return object(&dynamic_bytes_, dynamic_bytes_, 16); }

  void block_barrier(Line where) { wait(State::at_block_barrier, where); }
  void cluster_barrier(Line where) { wait(State::at_cluster_barrier, where); }

  const std::array<uint64_t, kWarpSize>& warp_exchange(unsigned mask, uint64_t bits, Line where) {
    if (mask != 0xffffffffu) {
      throw EmulatorError("a warp operation of some lanes only at " + place(where));
    }
    if (block_threads_ % kWarpSize != 0) {
      throw EmulatorError("a warp operation in a block of broken warps at " + place(where));
    }
    Thread& self = running();
    self.bits = bits;
    wait(State::at_warp_operation, where);
    return self.warp_bits;
  }

 private:
  /// What every fibre does: it runs a thread to its end, goes on with fresh ones while there are
  /// any, and then waits for another block.
  static void entry() {
    Machine& machine = current();
    machine.fibre_->arrived();
    for (;;) {
      while (machine.running_ != nullptr) {
        Thread& self = *machine.running_;
        try {
          (*machine.body_)();
        } catch (const Abandoned&) {
        } catch (...) {
          if (!machine.failure_) machine.failure_ = std::current_exception();
        }
        self.state = State::idle;
        self.fibre = nullptr;
        machine.running_ = machine.next_fresh();
        if (machine.running_ != nullptr) machine.begin(*machine.running_);
      }
      Fibre& fibre = *machine.fibre_;
      machine.free_.push_back(&fibre);
      fibre.switch_to(machine.scheduler_);
    }
  }

  /// Of an order in which every block comes once: up, down, or across the grid, by launch.
  uint64_t step_between_blocks(uint64_t blocks) const {
    if (launch_ % 3 == 0) return 1;
    if (launch_ % 3 == 1) return blocks - 1;
    uint64_t step = blocks * 5 / 8 + 1;
    while (std::gcd(step, blocks) != 1) ++step;
    return step;
  }

  Thread& running() {
    if (running_ == nullptr) throw EmulatorError("a barrier outside a kernel");
    return *running_;
  }

  /// The thread at a place of the order in which this stretch runs them.
  Thread& in_order(size_t i) { return threads_[stretch_ % 2 == 0 ? threads_.size() - 1 - i : i]; }

  /// The next thread that has not begun, or null.
  Thread* next_fresh() {
    if (failure_) return nullptr;
    while (fresh_ < threads_.size()) {
      Thread& thread = in_order(fresh_++);
      if (thread.state == State::fresh) return &thread;
    }
    return nullptr;
  }

  /// Notes that `thread` starts to run on the current fibre.
  void begin(Thread& thread) {
    thread.state = State::ready;
    thread.fibre = fibre_;
    enter(thread);
  }

  void* object_of(int rank, const void* key, size_t size, size_t alignment) {
    for (SharedObject& object : shared_) {
      if (object.key != key || object.rank != rank) continue;
      if (object.cluster != cluster_number_) fill(object);
      return object.data.get();
    }
    size_t total = size;
    for (const SharedObject& other : shared_) total += other.rank == rank ? other.size : 0;
    if (total > kMostSharedBytes) {
      throw EmulatorError(std::to_string(total) + " bytes of shared memory");
    }
    // Exactly `size` bytes, so that the sanitizer guards both ends.
    void* memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<size_t>(size, 1))) {
      throw std::bad_alloc();
    }
    shared_.push_back({key,
                       rank,
                       size,
                       {static_cast<std::byte*>(memory), [](std::byte* data) { std::free(data); }},
                       0});
    fill(shared_.back());
    return memory;
  }

  void fill(SharedObject& object) {
    std::memset(object.data.get(), 0xFF, object.size);
    object.cluster = cluster_number_;
  }

  std::span<Thread> block_of(int rank) {
    return std::span(threads_).subspan(to_size(rank) * block_threads_, block_threads_);
  }

  /// Notes where the thread is that runs now.
  void enter(const Thread& thread) {
    position.thread = thread.index;
    position.rank = thread.rank;
    position.block = first_block_;
    position.block.x += static_cast<unsigned>(thread.rank);
  }

  void wait(State state, Line where) {
    Thread& self = running();
    self.state = state;
    self.where = where;
    self.fibre->switch_to(scheduler_);
    if (abandoning_) throw Abandoned{};
  }

  /// Runs `thread` on its fibre, or on a free one, until it waits or ends.
  void resume(Thread& thread) {
    running_ = &thread;
    if (thread.fibre != nullptr) {
      fibre_ = thread.fibre;
      enter(thread);
    } else {
      if (free_.empty()) {
        fibres_.push_back(std::make_unique<Fibre>());
        fibres_.back()->prepare(&Machine::entry);
        free_.push_back(fibres_.back().get());
      }
      fibre_ = free_.back();
      free_.pop_back();
      begin(thread);
    }
    scheduler_.switch_to(*fibre_);
    running_ = nullptr;
  }

  void run_cluster() {
    for (Thread& thread : threads_) thread.state = State::fresh;
    // Fresh threads run in the first stretch alone.
    stretch_ = cluster_number_;
    fresh_ = 0;
    while (Thread* thread = next_fresh()) resume(*thread);
    while (!failure_ && (release_warps() || release_blocks() || release_cluster())) {
      ++stretch_;
      for (size_t i = 0; i < threads_.size() && !failure_; ++i) {
        if (in_order(i).state == State::ready) resume(in_order(i));
      }
    }
    for (const Thread& thread : threads_) {
      if (thread.state == State::idle || failure_) continue;
      failure_ = std::make_exception_ptr(EmulatorError(describe_deadlock()));
    }
    if (failure_) give_up();
  }

  /// Lets warps go on whose threads are all at one warp operation.
  bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < threads_.size(); first += kWarpSize) {
      const auto warp =
          std::span(threads_).subspan(first, std::min<size_t>(kWarpSize, threads_.size() - first));
      if (!all_at(State::at_warp_operation, warp)) continue;
      std::array<uint64_t, kWarpSize> brought{};
      for (size_t i = 0; i < warp.size(); ++i) brought[i] = warp[i].bits;
      for (Thread& thread : warp) {
        thread.warp_bits = brought;
        thread.state = State::ready;
      }
      released = true;
    }
    return released;
  }

  /// Lets blocks go on whose threads are all at one barrier.
  bool release_blocks() {
    bool released = false;
    for (int rank = 0; to_size(rank) * block_threads_ < threads_.size(); ++rank) {
      const std::span<Thread> block = block_of(rank);
      if (!all_at(State::at_block_barrier, block)) continue;
      for (Thread& thread : block) thread.state = State::ready;
      released = true;
    }
    return released;
  }

  /// Lets the cluster go on if its threads are all at one barrier of the cluster.
  bool release_cluster() {
    if (!all_at(State::at_cluster_barrier, threads_)) return false;
    for (Thread& thread : threads_) thread.state = State::ready;
    return true;
  }

  static bool all_at(State state, std::span<const Thread> threads) {
    return std::all_of(threads.begin(), threads.end(), [&](const Thread& thread) {
      return thread.state == state &&
             (state == State::idle || same(thread.where, threads[0].where));
    });
  }

  std::string describe_deadlock() const {
    size_t left = 0;
    std::vector<std::string> places;
    for (const Thread& thread : threads_) {
      if (thread.state == State::idle) {
        ++left;
      } else if (const std::string here = place(thread.where);
                 std::find(places.begin(), places.end(), here) == places.end()) {
        places.push_back(here);
      }
    }
    std::string text = "divergence in block " + std::to_string(first_block_.x) + ": ";
    if (left > 0) text += std::to_string(left) + " threads have left, ";
    text += "threads wait at";
    for (const std::string& here : places) text += " " + here;
    return text;
  }

  /// Unwinds the waiting threads and throws the failure.
  void give_up() {
    abandoning_ = true;
    for (Thread& thread : threads_) {
      if (thread.fibre != nullptr) resume(thread);
    }
    abandoning_ = false;
    shared_.clear();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  Fibre scheduler_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  std::vector<Fibre*> free_;
  std::vector<Thread> threads_;
  Thread* running_ = nullptr;
  Fibre* fibre_ = nullptr;  // that runs
  const std::function<void()>* body_ = nullptr;
  std::vector<SharedObject> shared_;
  size_t dynamic_bytes_ = 0;
  uint64_t launch_ = 0;
  size_t block_threads_ = 0;
  uint3 first_block_{};          // of the cluster that runs
  unsigned cluster_number_ = 0;  // counts the clusters of a launch as they run
  unsigned stretch_ = 0;         // between barriers
  size_t fresh_ = 0;             // threads before this place have begun
  std::exception_ptr failure_;
  bool abandoning_ = false;
};

}  // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  Machine::current().run(grid, block, 1, shared_bytes, thread);
}

void run_clusters(dim3 grid, dim3 block, int cluster, const std::function<void()>& thread) {
  Machine::current().run(grid, block, cluster, 0, thread);
}

void* shared_object(const void* key, size_t size, size_t alignment) {
  return Machine::current().object(key, size, alignment);
}

void* shared_object_of(int rank, const void* key, size_t size, size_t alignment) {
  return Machine::current().other_object(rank, key, size, alignment);
}

void* dynamic_shared() { return Machine::current().dynamic(); }

void block_barrier(Line where) { Machine::current().block_barrier(where); }

void cluster_barrier(Line where) { Machine::current().cluster_barrier(where); }

uint64_t exchange(unsigned mask, uint64_t bits, int source, Line where) {
  return Machine::current().warp_exchange(mask, bits, where)[to_size(source)];
}

unsigned ballot(unsigned mask, bool value, Line where) {
  const std::array<uint64_t, kWarpSize>& bits =
      Machine::current().warp_exchange(mask, value, where);
  unsigned lanes = 0;
  for (size_t i = 0; i < bits.size(); ++i) lanes |= (bits[i] != 0 ? 1u : 0u) << i;
  return lanes;
}

int lane() {
  const uint3 thread = position.thread;
  const dim3 extent = position.threads;
  return static_cast<int>((thread.x + extent.x * (thread.y + extent.y * thread.z)) % kWarpSize);
}

}  // namespace macadam::emulator
