#pragma once
// Runs a case on a backend inside poisoned memory.

#include <map>
#include <string>
#include <vector>

#include "tests/kernels/op_case.h"

namespace macadam::testing {

/// Values by operand name, dense NHWC order.
using Values = std::map<std::string, std::vector<double>, std::less<>>;

/// The values of a case's inputs and updates: its fills, rounded to the operands' dtypes, and what
/// the reference's forward pass gives where the case has one. The same on every call.
Values make_inputs(const OpCase& op);

/// Each value rounded to `dtype`.
void round_to(DType dtype, std::span<double> values);

/// A case bound to memory of one backend. Every operand and scratch buffer lies between guard
/// bytes, more of them than a row of a wide image takes; outputs, scratch, guards and the channels
/// beside a slice are NaN patterns, so that a read of what was not written shows in the result.
class BoundOp {
 public:
  /// Bytes on either side of a buffer. Keeps the alignment of Buffer. oneDNN was seen to write
  /// 3 KiB before a workspace (2.6) and 13 KiB behind one (2.6 and 3.2).
  static constexpr size_t kGuard = size_t{64} << 10;

  /// Allocates, uploads `inputs`, prepares the op and runs its setup. `ops` works on `stream`.
  BoundOp(const OpCase& op, Ops& ops, Stream& stream, const Values& inputs, size_t guard = kGuard);

  /// One call.
  void run() { prepared_.call(arguments_); }
  /// Waits, and reads the outputs and updates.
  Values results();
  /// Waits, and says what else the calls have written: guards, inputs, neighbouring channels.
  std::vector<std::string> stray_writes();

 private:
  /// A device buffer and what was put into it.
  struct Block {
    std::string name;
    const Operand* operand = nullptr;  // null for scratch
    std::vector<std::byte> initial;
    Buffer memory;
  };

  Block& upload(std::string name, const Operand* operand, std::vector<std::byte> initial);
  void* make_scratch(std::string name, size_t bytes);
  std::vector<std::byte> download(const Block& block);

  const OpCase& op_;
  Stream& stream_;
  size_t guard_;
  PreparedOp prepared_;
  Arguments arguments_;
  std::vector<Block> blocks_;
};

/// BoundOp run once on the reference backend.
Values reference_results(const OpCase& op, const Values& inputs);

}  // namespace macadam::testing
