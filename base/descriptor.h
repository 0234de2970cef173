#pragma once
// Open files by their numbers.

#include <cstddef>
#include <span>
#include <utility>

namespace macadam {

/// The number of an open file, closed with the object; of none where it is negative.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }
  bool valid() const { return number_ >= 0; }
  /// Leaves closing to the caller.
  int release() { return std::exchange(number_, -1); }
  /// Closes now what is open; errno on failure, 0 otherwise.
  int close();

 private:
  int number_;
};

/// Writes everything, and waits where that takes room which is not there yet. errno on failure, 0
/// otherwise.
int write_all(int descriptor, std::span<const std::byte> bytes);

}  // namespace macadam
