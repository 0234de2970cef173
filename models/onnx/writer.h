#pragma once
// Nodes and constants of an ONNX file under way, each with a name of its own.

#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/onnx/model.h"

namespace macadam {

class OnnxWriter {
 public:
  using Ints = std::vector<int64_t>;
  using Attributes = std::vector<std::pair<std::string, OnnxAttribute>>;

  /// `wanted`, with a number behind it when something else has that name.
  std::string unique(const std::string& wanted);

  void emit(std::string op, std::string name, std::vector<std::string> inputs, std::string output,
            Attributes attributes = {});
  /// A node within a layer, named after what it makes: that name.
  std::string emit_part(std::string op, const std::string& name, std::vector<std::string> inputs,
                        Attributes attributes = {});

  /// The name of a new constant.
  std::string constant(std::string name, Ints dims, std::span<const float> data);
  /// The name of a list of integers, one constant for all that need it; and of a scalar.
  std::string integers(const Ints& list);
  std::string integer(int64_t value);
  std::string scalar(float value);

 protected:
  OnnxModel model_;
  std::set<std::string> taken_;

 private:
  std::map<Ints, std::string> lists_;
  std::map<int64_t, std::string> integers_;
  std::map<float, std::string> scalars_;
};

}  // namespace macadam
