#include "models/onnx/serialize.h"

#include "base/error.h"
#include "base/to_size.h"

#if defined(MACADAM_HAS_ONNX)

#include <onnx/onnx_pb.h>

#include <bit>
#include <limits>

namespace macadam {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie");

::onnx::TensorProto::DataType proto_type(OnnxType type) {
  return type == OnnxType::f32 ? ::onnx::TensorProto::FLOAT : ::onnx::TensorProto::INT64;
}

/// Sets the value of one attribute.
struct SetAttribute {
  ::onnx::AttributeProto& proto;

  void operator()(int64_t value) const {
    proto.set_type(::onnx::AttributeProto::INT);
    proto.set_i(value);
  }
  void operator()(float value) const {
    proto.set_type(::onnx::AttributeProto::FLOAT);
    proto.set_f(value);
  }
  void operator()(const std::string& value) const {
    proto.set_type(::onnx::AttributeProto::STRING);
    proto.set_s(value);
  }
  void operator()(const std::vector<int64_t>& value) const {
    proto.set_type(::onnx::AttributeProto::INTS);
    for (int64_t i : value) proto.add_ints(i);
  }
};

void fill(::onnx::NodeProto& proto, const OnnxNode& node) {
  proto.set_op_type(node.op);
  proto.set_name(node.name);
  for (const std::string& input : node.inputs) proto.add_input(input);
  proto.add_output(node.output);
  for (const auto& [name, value] : node.attributes) {
    ::onnx::AttributeProto& attribute = *proto.add_attribute();
    attribute.set_name(name);
    std::visit(SetAttribute{attribute}, value);
  }
}

void fill(::onnx::TensorProto& proto, OnnxTensor&& tensor) {
  proto.set_name(tensor.name);
  proto.set_data_type(proto_type(tensor.type));
  for (int64_t dim : tensor.dims) proto.add_dims(dim);
  proto.set_raw_data(std::move(tensor.bytes));
}

void fill(::onnx::ValueInfoProto& proto, const OnnxValue& value) {
  proto.set_name(value.name);
  ::onnx::TypeProto::Tensor& type = *proto.mutable_type()->mutable_tensor_type();
  type.set_elem_type(proto_type(value.type));
  for (const OnnxDim& dim : value.dims) {
    auto& dim_proto = *type.mutable_shape()->add_dim();
    if (const auto* extent = std::get_if<int64_t>(&dim)) {
      dim_proto.set_dim_value(*extent);
    } else {
      dim_proto.set_dim_param(std::get<std::string>(dim));
    }
  }
}

}  // namespace

std::string serialize(OnnxModel model, std::string_view file) {
  ::onnx::ModelProto proto;
  proto.set_ir_version(kOnnxIrVersion);
  proto.add_opset_import()->set_version(kOnnxOpset);
  proto.set_producer_name("macadam");
  proto.set_producer_version(model.producer_version);
  for (const auto& [key, value] : model.metadata) {
    auto& entry = *proto.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  ::onnx::GraphProto& graph = *proto.mutable_graph();
  graph.set_name(model.name);
  fill(*graph.add_input(), model.input);
  fill(*graph.add_output(), model.output);
  for (const OnnxNode& node : model.nodes) fill(*graph.add_node(), node);
  for (OnnxTensor& tensor : model.tensors) fill(*graph.add_initializer(), std::move(tensor));

  if (proto.ByteSizeLong() > to_size(std::numeric_limits<int>::max())) {
    throw InputError("the network passes the 2 GiB of an ONNX file", file,
                     "choose a smaller network");
  }
  return proto.SerializeAsString();
}

}  // namespace macadam

#else

namespace macadam {

std::string serialize(OnnxModel, std::string_view file) {
  throw InputError("this build cannot write ONNX files", file,
                   "install libonnx-dev and libprotobuf-dev, and build macadam again");
}

}  // namespace macadam

#endif
