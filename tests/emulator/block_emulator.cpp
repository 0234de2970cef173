#include "block_emulator.h"

#include <ucontext.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

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

/// Dynamic shared memory that every GPU grants without being asked.
constexpr size_t kMostSharedBytes = 48 * 1024;

/// A context that can be switched to, and what the sanitizers must know of it.
class Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
#if defined(__SANITIZE_THREAD__)
    if (stack_ && tsan_) __tsan_destroy_fiber(tsan_);
#endif
  }

  /// Makes the context one that enters `entry` on a stack of its own.
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

  /// Leaves this context, the running one, for `next`; returns when something switches back.
  void switch_to(Context& next) {
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

  /// To be called first on a new stack; switch_to does it where a context goes on.
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
  std::unique_ptr<std::byte[]> stack_;  // null for the context of the caller
  Context* caller_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] void* tsan_ = nullptr;
};

/// Thrown through the waiting threads of a block that is given up, to leave their stacks clean.
struct Abandoned {};

/// `fresh` threads have not begun, `idle` ones have ended.
enum class State : uint8_t { idle, fresh, ready, at_block_barrier, at_warp_operation };

struct Fibre {
  Context context;
  State state = State::idle;
  uint3 thread{};
  std::source_location where;
  uint64_t bits = 0;                               // brought to a warp operation
  std::array<uint64_t, kWarpSize> warp_bits = {};  // what all lanes brought
};

std::string place(const std::source_location& where) {
  const std::string file = where.file_name();
  return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

bool same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

struct SharedObject {
  const void* key;
  size_t size;
  std::unique_ptr<std::byte, void (*)(std::byte*)> data;
  unsigned block;  // that filled it last
};

/// The fibres and the shared memory of the block that runs on this OS thread.
class Machine {
 public:
  static Machine& current() {
    static thread_local Machine machine;
    return machine;
  }

  void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
    const size_t threads = size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024) {
      throw EmulatorError("a block of " + std::to_string(threads) + " threads");
    }
    if (shared_bytes > kMostSharedBytes) {
      throw EmulatorError(std::to_string(shared_bytes) + " bytes of dynamic shared memory");
    }
    if (running_ != nullptr) throw EmulatorError("a launch from inside a kernel");
    while (fibres_.size() < threads) {
      fibres_.push_back(std::make_unique<Fibre>());
      fibres_.back()->context.prepare(&Machine::entry);
    }
    body_ = &thread;
    threads_ = threads;
    shared_.clear();
    dynamic_bytes_ = shared_bytes;
    block_number_ = 0;
    position.threads = block;
    position.blocks = grid;
    for (unsigned z = 0; z < grid.z; ++z) {
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) {
          position.block = {x, y, z};
          ++block_number_;
          run_block();
        }
      }
    }
    shared_.clear();
  }

  void* object(const void* key, size_t size, size_t alignment) {
    for (SharedObject& object : shared_) {
      if (object.key != key) continue;
      if (object.block != block_number_) fill(object);
      return object.data.get();
    }
    // Exactly `size` bytes, so that the sanitizer guards both ends.
    void* memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<size_t>(size, 1))) {
      throw std::bad_alloc();
    }
    shared_.push_back({key,
                       size,
                       {static_cast<std::byte*>(memory), [](std::byte* data) { std::free(data); }},
                       0});
    fill(shared_.back());
    return memory;
  }

  void* dynamic() { return object(&dynamic_bytes_, dynamic_bytes_, 16); }

  void block_barrier(std::source_location where) { wait(State::at_block_barrier, where); }

  const std::array<uint64_t, kWarpSize>& warp_exchange(unsigned mask, uint64_t bits,
                                                       std::source_location where) {
    if (mask != 0xffffffffu) {
      throw EmulatorError("a warp operation of some lanes only at " + place(where));
    }
    if (threads_ % kWarpSize != 0) {
      throw EmulatorError("a warp operation in a block of broken warps at " + place(where));
    }
    running_->bits = bits;
    wait(State::at_warp_operation, where);
    return running_->warp_bits;
  }

 private:
  static void entry() {
    Machine& machine = current();
    machine.running_->context.arrived();
    for (;;) {
      Fibre& self = *machine.running_;
      try {
        (*machine.body_)();
      } catch (const Abandoned&) {
      } catch (...) {
        if (!machine.failure_) machine.failure_ = std::current_exception();
      }
      self.state = State::idle;
      self.context.switch_to(machine.scheduler_);
    }
  }

  void fill(SharedObject& object) {
    std::memset(object.data.get(), 0xFF, object.size);
    object.block = block_number_;
  }

  void wait(State state, std::source_location where) {
    if (running_ == nullptr) throw EmulatorError("a barrier outside a kernel");
    Fibre& self = *running_;
    self.state = state;
    self.where = where;
    self.context.switch_to(scheduler_);
    if (abandoning_) throw Abandoned{};
  }

  void resume(Fibre& fibre) {
    running_ = &fibre;
    position.thread = fibre.thread;
    scheduler_.switch_to(fibre.context);
    running_ = nullptr;
  }

  void run_block() {
    const dim3 extent = position.threads;
    for (size_t i = 0; i < threads_; ++i) {
      Fibre& fibre = *fibres_[i];
      const auto index = static_cast<unsigned>(i);
      fibre.thread = {index % extent.x, index / extent.x % extent.y, index / (extent.x * extent.y)};
      fibre.state = State::fresh;
    }
    for (unsigned stretch = block_number_;; ++stretch) {
      bool ran = false;
      for (size_t i = 0; i < threads_; ++i) {
        Fibre& fibre = *fibres_[stretch % 2 == 0 ? threads_ - 1 - i : i];
        if (fibre.state != State::ready && fibre.state != State::fresh) continue;
        resume(fibre);
        ran = true;
        if (failure_) return give_up();
      }
      const bool released = release_warps() || release_block();
      if (!ran && !released) break;
    }
    for (size_t i = 0; i < threads_; ++i) {
      if (fibres_[i]->state == State::idle) continue;
      failure_ = std::make_exception_ptr(EmulatorError(describe_deadlock()));
      return give_up();
    }
  }

  /// Lets warps go on whose threads are all at one warp operation.
  bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < threads_; first += kWarpSize) {
      const size_t end = std::min(first + kWarpSize, threads_);
      bool complete = true;
      for (size_t i = first; i < end; ++i) {
        complete = complete && fibres_[i]->state == State::at_warp_operation &&
                   same(fibres_[i]->where, fibres_[first]->where);
      }
      if (!complete) continue;
      for (size_t i = first; i < end; ++i) {
        for (size_t other = first; other < end; ++other) {
          fibres_[i]->warp_bits[other - first] = fibres_[other]->bits;
        }
        fibres_[i]->state = State::ready;
      }
      released = true;
    }
    return released;
  }

  /// Lets the block go on if its threads are all at one barrier.
  bool release_block() {
    for (size_t i = 0; i < threads_; ++i) {
      if (fibres_[i]->state != State::at_block_barrier) return false;
      if (!same(fibres_[i]->where, fibres_[0]->where)) return false;
    }
    for (size_t i = 0; i < threads_; ++i) fibres_[i]->state = State::ready;
    return true;
  }

  std::string describe_deadlock() const {
    size_t left = 0;
    std::vector<std::string> places;
    for (size_t i = 0; i < threads_; ++i) {
      if (fibres_[i]->state == State::idle) {
        ++left;
      } else if (const std::string here = place(fibres_[i]->where);
                 std::find(places.begin(), places.end(), here) == places.end()) {
        places.push_back(here);
      }
    }
    std::string text = "divergence in block " + std::to_string(position.block.x) + ": ";
    if (left > 0) text += std::to_string(left) + " threads have left, ";
    text += "threads wait at";
    for (const std::string& here : places) text += " " + here;
    return text;
  }

  /// Unwinds the waiting threads and throws the failure.
  void give_up() {
    abandoning_ = true;
    for (size_t i = 0; i < threads_; ++i) {
      Fibre& fibre = *fibres_[i];
      if (fibre.state != State::idle && fibre.state != State::fresh) resume(fibre);
      fibre.state = State::idle;
    }
    abandoning_ = false;
    shared_.clear();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  Context scheduler_;
  std::vector<std::unique_ptr<Fibre>> fibres_;
  Fibre* running_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  size_t threads_ = 0;
  std::vector<SharedObject> shared_;
  size_t dynamic_bytes_ = 0;
  unsigned block_number_ = 0;
  std::exception_ptr failure_;
  bool abandoning_ = false;
};

}  // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  Machine::current().run(grid, block, shared_bytes, thread);
}

void* shared_object(const void* key, size_t size, size_t alignment) {
  return Machine::current().object(key, size, alignment);
}

void* dynamic_shared() { return Machine::current().dynamic(); }

void block_barrier(std::source_location where) { Machine::current().block_barrier(where); }

uint64_t exchange(unsigned mask, uint64_t bits, int source, std::source_location where) {
  return Machine::current().warp_exchange(mask, bits, where)[static_cast<size_t>(source)];
}

unsigned ballot(unsigned mask, bool value, std::source_location where) {
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
