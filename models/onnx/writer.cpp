#include "models/onnx/writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace macadam {

namespace {

template <typename T>
std::string bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

std::string OnnxWriter::unique(const std::string& wanted) {
  std::string name = wanted;
  for (int i = 2; !taken_.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

void OnnxWriter::emit(std::string op, std::string name, std::vector<std::string> inputs,
                      std::string output, Attributes attributes) {
  model_.nodes.push_back({std::move(op), std::move(name), std::move(inputs), std::move(output),
                          std::move(attributes)});
}

std::string OnnxWriter::emit_part(std::string op, const std::string& name,
                                  std::vector<std::string> inputs, Attributes attributes) {
  std::string output = unique(name);
  emit(std::move(op), output, std::move(inputs), output, std::move(attributes));
  return output;
}

std::string OnnxWriter::constant(std::string name, Ints dims, std::span<const float> data) {
  model_.tensors.push_back({name, OnnxType::f32, std::move(dims), bytes_of(data)});
  return name;
}

std::string OnnxWriter::integers(const Ints& list) {
  std::string& name = lists_[list];
  if (name.empty()) {
    name = unique(fmt::format("integers_{}", fmt::join(list, "_")));
    model_.tensors.push_back({name,
                              OnnxType::i64,
                              {static_cast<int64_t>(list.size())},
                              bytes_of(std::span<const int64_t>(list))});
  }
  return name;
}

std::string OnnxWriter::integer(int64_t value) {
  std::string& name = integers_[value];
  if (name.empty()) {
    name = unique(fmt::format("integer_{}", value));
    model_.tensors.push_back(
        {name, OnnxType::i64, {}, bytes_of(std::span<const int64_t>(&value, 1))});
  }
  return name;
}

std::string OnnxWriter::scalar(float value) {
  std::string& name = scalars_[value];
  if (name.empty()) name = constant(unique(fmt::format("scalar_{}", value)), {}, {&value, 1});
  return name;
}

}  // namespace macadam
