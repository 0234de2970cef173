#include "tests/kernels/op_runner.h"

#include <algorithm>

#include "base/to_size.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::testing {
namespace {

constexpr size_t kReferenceGuard = 256;  // nobody looks at these

/// Signalling NaN in `dtype`, f32's in bf16 too: whatever is added to one makes it a quiet NaN, so
/// that a stray sum changes it like a stray store does. A u8 of 205 is no class, no index and not
/// 255.
std::vector<std::byte> poisoned(size_t bytes, DType dtype) {
  const unsigned pattern = dtype == DType::u8 ? 0xCDCD : dtype == DType::f16 ? 0xFDBF : 0xFFBF;
  std::vector<std::byte> memory(bytes, std::byte(pattern >> 8));
  for (size_t i = 0; i < bytes; i += 2) memory[i] = std::byte(pattern & 0xFF);
  return memory;
}

/// Calls f(element, byte offset in the operand's memory) for every element of its slice, and of
/// `behind` channels behind it.
template <typename F>
void for_each_element(const Operand& operand, F&& f, int behind = 0) {
  const Shape s = operand.shape;
  const int64_t stride = operand.channels_before + s.c + operand.channels_after;
  size_t element = 0;
  for (int64_t pixel = 0; pixel < s.pixels(); ++pixel)
    for (int c = 0; c < s.c + behind; ++c) {
      const auto position = to_size(pixel * stride + operand.channels_before + c);
      f(element++, position * size_of(operand.dtype));
    }
}

/// The tensor that the operand is a slice of.
Shape whole_of(const Operand& operand) {
  Shape wide = operand.shape;
  wide.c += operand.channels_before + operand.channels_after;
  return wide;
}

double read_element(DType dtype, const std::byte* data) {
  if (dtype == DType::u8) return std::to_integer<int>(*data);
  return visit_float(dtype, [&](auto element) -> double {
    std::memcpy(&element, data, sizeof element);
    return scalar::to_float(element);
  });
}

void write_element(DType dtype, double value, std::byte* data) {
  if (dtype == DType::u8) {
    *data = std::byte{static_cast<uint8_t>(value)};
    return;
  }
  visit_float(dtype, [&](auto element) {
    element = scalar::from_float<decltype(element)>(static_cast<float>(value));
    std::memcpy(data, &element, sizeof element);
  });
}

uint32_t seed_of(std::string_view text) {  // FNV-1a
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

}  // namespace

void round_to(DType dtype, std::span<double> values) {
  std::byte scratch[sizeof(float)];
  for (double& v : values) {
    write_element(dtype, v, scratch);
    v = read_element(dtype, scratch);
  }
}

Values make_inputs(const OpCase& op) {
  Values inputs;
  for (const Operand& operand : op.operands) {
    if (operand.role == Role::output) continue;
    std::vector<double> elements(to_size(operand.shape.elements()));
    std::mt19937 random(seed_of(op.op + op.name + operand.name));
    operand.fill(elements, random);
    round_to(operand.dtype, elements);
    inputs[operand.name] = std::move(elements);
  }
  if (!op.forward) return inputs;

  Values forward = make_inputs(*op.forward);
  const Values outputs = reference_results(*op.forward, forward);
  for (const auto& [name, elements] : outputs) forward[name] = elements;
  for (auto& [name, elements] : inputs) {
    const auto found = forward.find(name);
    if (found != forward.end()) elements = found->second;
  }
  return inputs;
}

BoundOp::BoundOp(const OpCase& op, Ops& ops, Stream& stream, const Values& inputs, size_t guard)
    : op_(op), stream_(stream), guard_(guard), prepared_(op.prepare(ops)) {
  blocks_.reserve(op.operands.size() + 2);
  for (const Operand& operand : op.operands) {
    const Shape shape = whole_of(operand);
    const size_t bytes = to_size(shape.elements()) * size_of(operand.dtype);
    std::vector<std::byte> initial = poisoned(guard_ + bytes + guard_, operand.dtype);
    if (operand.role != Role::output) {
      const std::vector<double>& elements = inputs.at(operand.name);
      for_each_element(operand, [&](size_t i, size_t offset) {
        write_element(operand.dtype, elements[i], &initial[guard_ + offset]);
      });
    }
    const Block& block = upload(operand.name, &operand, std::move(initial));
    const Tensor whole(block.memory.data() + guard_, shape, operand.dtype, stream.device());
    Tensor tensor = whole.channels(operand.channels_before, operand.shape.c);
    if (operand.spare) tensor.spare = operand.channels_after;
    arguments_.bind(operand.name, tensor);
  }
  void* workspace = make_scratch("workspace", prepared_.workspace_bytes);
  void* packed = make_scratch("packed", prepared_.packed_bytes);
  arguments_.bind_scratch(workspace, packed);
  if (prepared_.setup) prepared_.setup(arguments_);
}

BoundOp::Block& BoundOp::upload(std::string name, const Operand* operand,
                                std::vector<std::byte> initial) {
  Block& block =
      blocks_.emplace_back(Block{std::move(name), operand, std::move(initial), Buffer{}});
  block.memory = Buffer(stream_.device(), block.initial.size());
  copy_bytes(stream_, block.memory.data(), block.initial.data(), block.initial.size());
  return block;
}

void* BoundOp::make_scratch(std::string name, size_t bytes) {
  if (bytes == 0) return nullptr;
  std::vector<std::byte> initial = poisoned(guard_ + bytes + guard_, DType::f32);
  return upload(std::move(name), nullptr, std::move(initial)).memory.data() + guard_;
}

std::vector<std::byte> BoundOp::download(const Block& block) {
  std::vector<std::byte> bytes(block.initial.size());
  copy_bytes(stream_, bytes.data(), block.memory.data(), bytes.size());
  stream_.synchronize();
  return bytes;
}

Values BoundOp::results() {
  Values results;
  for (const Block& block : blocks_) {
    if (!block.operand || block.operand->role == Role::input) continue;
    const std::vector<std::byte> bytes = download(block);
    std::vector<double> elements(to_size(block.operand->shape.elements()));
    for_each_element(*block.operand, [&](size_t i, size_t offset) {
      elements[i] = read_element(block.operand->dtype, &bytes[guard_ + offset]);
    });
    results[block.name] = std::move(elements);
  }
  return results;
}

std::vector<std::string> BoundOp::stray_writes() {
  std::vector<std::string> strays;
  for (const Block& block : blocks_) {
    std::vector<std::byte> bytes = download(block);
    const auto forgive = [&](size_t offset, size_t count) {
      std::copy_n(&block.initial[offset], count, &bytes[offset]);
    };
    if (!block.operand) {
      forgive(guard_, bytes.size() - 2 * guard_);
    } else if (const Operand& operand = *block.operand; operand.role != Role::input) {
      const bool writes_spare = operand.spare && !operand.keeps_spare;
      for_each_element(
          operand, [&](size_t, size_t offset) { forgive(guard_ + offset, size_of(operand.dtype)); },
          writes_spare ? operand.channels_after : 0);
    }
    if (bytes == block.initial) continue;
    const auto [now, before] = std::mismatch(bytes.begin(), bytes.end(), block.initial.begin());
    strays.push_back("byte " + std::to_string(now - bytes.begin() - static_cast<int64_t>(guard_)) +
                     " of " + block.name + " (" + std::to_string(bytes.size() - 2 * guard_) +
                     " bytes)");
  }
  return strays;
}

Values reference_results(const OpCase& op, const Values& inputs) {
  Stream stream;
  Ops ops = make_reference_ops();
  BoundOp bound(op, ops, stream, inputs, kReferenceGuard);
  bound.run();
  return bound.results();
}

}  // namespace macadam::testing
