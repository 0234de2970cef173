// Weight files that PyTorch, Keras (h5py), safetensors and NumPy wrote: tests/golden/weights, made
// by tests/golden/make_weight_files.py, which says what every file holds.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "models/weights/hdf5_file.h"
#include "models/weights/weight_file.h"
#include "tests/base/temporary_folder.h"
#include "tests/paths.h"

using namespace macadam;

namespace {

std::string golden(const std::string& name) { return source_path("tests/golden/weights/" + name); }

std::vector<float> ramp(float first, int64_t count) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(first + static_cast<float>(i) / 4);
  return values;
}

std::vector<std::string> names(const WeightFile& file) {
  std::vector<std::string> result;
  for (const WeightTensor& tensor : file.tensors()) result.push_back(tensor.name);
  return result;
}

std::vector<float> values(const WeightFile& file, size_t index) {
  std::vector<float> result(to_size(elements(file.tensors()[index].shape)), NAN);
  file.read(index, result);
  return result;
}

/// Expects the tensor, the same from read() and, where there is one, from view().
void expect_tensor(const WeightFile& file, const std::string& name, const TensorShape& shape,
                   const std::vector<float>& expected) {
  const auto index = file.find(name);
  ASSERT_TRUE(index) << name << " is not in " << file.name();
  EXPECT_EQ(file.tensors()[*index].shape, shape) << name;
  EXPECT_EQ(values(file, *index), expected) << name;
  if (const auto view = file.view(*index)) {
    EXPECT_EQ(std::vector<float>(view->begin(), view->end()), expected) << name;
  }
}

std::string error_of(const std::string& name) {
  try {
    open_weights(golden(name));
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    return error.what();
  }
  return "no error";
}

void expect_refused(const std::string& name, const std::string& complaint) {
  const std::string error = error_of(name);
  EXPECT_NE(error.find(complaint), std::string::npos) << name << ": " << error;
}

/// conv_state() of the script.
void expect_conv_state(const WeightFile& file) {
  expect_tensor(file, "conv.weight", {2, 3, 2, 2}, ramp(1, 24));
  expect_tensor(file, "conv.bias", {2}, ramp(-2, 2));
  expect_tensor(file, "bn.running_var", {2}, ramp(0.5, 2));
  expect_tensor(file, "bn.num_batches_tracked", {}, {7});
  EXPECT_EQ(file.tensors()[*file.find("bn.num_batches_tracked")].dtype, StoredType::i64);
  EXPECT_FALSE(file.keras());
}

TEST(TorchGolden, StateDictAsZip) {
  const auto file = open_weights(golden("zip.pth"));
  EXPECT_EQ(file->format(), "PyTorch");
  EXPECT_EQ(names(*file), (std::vector<std::string>{"conv.weight", "conv.bias", "bn.weight",
                                                    "bn.bias", "bn.running_mean", "bn.running_var",
                                                    "bn.num_batches_tracked"}));
  expect_conv_state(*file);
  EXPECT_TRUE(file->view(0)) << "torch.save aligns its data";
  EXPECT_FALSE(file->view(6)) << "an integer has no view";
}

TEST(TorchGolden, StateDictAsChainOfPickles) {
  const auto file = open_weights(golden("legacy.pth"));
  EXPECT_EQ(file->format(), "PyTorch (before 1.6)");
  EXPECT_EQ(file->tensors().size(), 7u);
  expect_conv_state(*file);
}

TEST(TorchGolden, AllPickleProtocols) {
  for (const char* name : {"protocol3.pth", "protocol4.pth", "protocol5.pth"}) {
    expect_conv_state(*open_weights(golden(name)));
  }
}

TEST(TorchGolden, Parameters) {
  const auto file = open_weights(golden("parameters.pth"));
  EXPECT_EQ(file->tensors().size(), 4u);
  expect_tensor(*file, "conv.weight", {2, 3, 2, 2}, ramp(1, 24));
}

class TorchViews : public ::testing::TestWithParam<const char*> {};

TEST_P(TorchViews, HonorStridesAndOffsets) {
  const auto file = open_weights(golden(GetParam()));
  ASSERT_EQ(file->tensors().size(), 9u);
  const std::vector<float> base = ramp(0, 24);
  std::vector<float> transposed, columns, every_second, permuted, channels_last, expanded;
  for (size_t x = 0; x < 6; ++x) {
    for (size_t y = 0; y < 4; ++y) transposed.push_back(base[y * 6 + x]);
  }
  for (size_t y = 0; y < 4; ++y) {
    for (size_t x = 1; x < 4; ++x) columns.push_back(base[y * 6 + x]);
  }
  for (size_t i = 1; i < 24; i += 2) every_second.push_back(base[i]);
  const std::vector<float> block = ramp(3, 24);
  for (size_t c = 0; c < 4; ++c) {
    for (size_t a = 0; a < 2; ++a) {
      for (size_t b = 0; b < 3; ++b) permuted.push_back(block[(a * 3 + b) * 4 + c]);
    }
  }
  for (size_t i = 0; i < 12; ++i) expanded.push_back(ramp(5, 3)[i / 4]);
  expect_tensor(*file, "base", {4, 6}, base);
  expect_tensor(*file, "transposed", {6, 4}, transposed);
  expect_tensor(*file, "columns", {4, 3}, columns);
  expect_tensor(*file, "every_second", {12}, every_second);
  expect_tensor(*file, "permuted", {4, 2, 3}, permuted);
  expect_tensor(*file, "channels_last", {2, 3, 2, 2}, base);
  expect_tensor(*file, "expanded", {3, 4}, expanded);
  expect_tensor(*file, "scalar", {}, {0.25});
  expect_tensor(*file, "empty", {0, 3}, {});
  for (const char* strided : {"transposed", "columns", "every_second", "permuted", "expanded"}) {
    EXPECT_FALSE(file->view(*file->find(strided))) << strided;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, TorchViews, ::testing::Values("views.pth", "views_legacy.pth"),
                         [](const auto& test) { return test.index == 0 ? "Zip" : "Legacy"; });

class NumberTypes : public ::testing::TestWithParam<const char*> {};

TEST_P(NumberTypes, BecomeFp32) {
  const auto file = open_weights(golden(GetParam()));
  ASSERT_EQ(file->tensors().size(), 11u);
  for (const WeightTensor& tensor : file->tensors()) {
    if (tensor.name == "bool") {
      EXPECT_EQ(tensor.dtype, StoredType::boolean);
      expect_tensor(*file, "bool", {3}, {1, 0, 1});
    } else if (tensor.name == "halves") {
      EXPECT_EQ(tensor.dtype, StoredType::f16);
      expect_tensor(*file, "halves", {4}, {1.5f, -0.25f, 65504.0f, 0x1p-24f});
    } else {
      expect_tensor(*file, tensor.name, {9}, {0, 1, 2, 3, 4, 5, 6, 7, 8});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, NumberTypes, ::testing::Values("types.pth", "types.safetensors"),
                         [](const auto& test) {
                           return test.index == 0 ? "Torch" : "Safetensors";
                         });

TEST(TorchGolden, CheckpointsOfTrainingScripts) {
  for (const char* name : {"checkpoint.pth", "lightning.ckpt", "one_inside.pth"}) {
    const auto file = open_weights(golden(name));
    EXPECT_EQ(file->tensors().size(), 4u) << name;
    expect_conv_state(*file);
  }
}

TEST(TorchGolden, WhatIsNoStateDictIsRefused) {
  expect_refused("two_inside.pth", "several sets of weights ('generator', 'critic'");
  expect_refused("no_tensors.pth", "no named tensors");
  expect_refused("list.pth", "no dictionary of tensors");
  expect_refused("module.pth", "an object of torch.nn.modules.container.Sequential");
  expect_refused("module.pth", "save model.state_dict()");
  expect_refused("quantised.pth", "torch._utils._rebuild_qtensor cannot be weights");
  expect_refused("complex.pth", "torch.ComplexFloatStorage cannot be weights");
  expect_refused("script.pt", "a TorchScript program");
}

TEST(TorchGolden, PicklesThatRunCodeAreRefusedByName) {
  expect_refused("evil_system.pth", "the file would run code: os.system: ");
  expect_refused("evil_eval.pth", "the file would run code: builtins.eval: ");
  expect_refused("evil_popen.pth", "the file would run code: subprocess.Popen: ");
  expect_refused("evil_plain.pth", "the file would run code: os.system: ");
}

TEST(SafetensorsGolden, CommonPrefixIsStripped) {
  const auto file = open_weights(golden("prefixed.safetensors"));
  EXPECT_EQ(file->format(), "safetensors");
  EXPECT_EQ(file->tensors().size(), 4u);
  expect_conv_state(*file);
}

TEST(NumpyGolden, Folder) {
  for (const std::string& path : {golden("numpy"), golden("numpy/")}) {
    const auto file = open_weights(path);
    EXPECT_EQ(file->format(), "NumPy folder");
    EXPECT_EQ(names(*file), (std::vector<std::string>{"bn/gamma", "conv.weight", "double",
                                                      "fortran", "half", "int64", "scalar"}));
    expect_tensor(*file, "bn/gamma", {2}, ramp(1, 2));
    expect_tensor(*file, "conv.weight", {2, 3, 2, 2}, ramp(1, 24));
    expect_tensor(*file, "fortran", {3, 4}, ramp(0, 12));
    expect_tensor(*file, "half", {5}, ramp(0, 5));
    expect_tensor(*file, "double", {5}, ramp(0, 5));
    expect_tensor(*file, "int64", {5}, {-2, -1, 0, 1, 2});
    expect_tensor(*file, "scalar", {}, {0.25});
  }
}

TEST(NumpyGolden, Archive) {
  const auto file = open_weights(golden("arrays.npz"));
  EXPECT_EQ(file->format(), "NumPy archive");
  EXPECT_EQ(file->tensors().size(), 2u);
  expect_tensor(*file, "conv.weight", {2, 3, 2, 2}, ramp(1, 24));
  expect_tensor(*file, "bn/gamma", {2}, ramp(1, 2));
  expect_refused("compressed.npz", "compressed or encrypted");
}

class KerasGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_hdf5()) GTEST_SKIP() << "built without HDF5";
  }
};

TEST_F(KerasGolden, Keras2) {
  for (const char* name : {"keras2.h5", "keras2_model.h5", "keras_chunked.h5"}) {
    const auto file = open_weights(golden(name));
    EXPECT_EQ(file->format(), "Keras HDF5");
    EXPECT_TRUE(file->keras());
    EXPECT_EQ(names(*file), (std::vector<std::string>{
                                "conv/kernel", "conv/bias", "bn/gamma", "bn/beta", "bn/moving_mean",
                                "bn/moving_variance", "dw/depthwise_kernel"}));
    expect_tensor(*file, "conv/kernel", {2, 2, 3, 2}, ramp(1, 24));
    expect_tensor(*file, "conv/bias", {2}, ramp(-2, 2));
    expect_tensor(*file, "bn/moving_variance", {2}, ramp(4, 2));
    expect_tensor(*file, "dw/depthwise_kernel", {2, 2, 2, 1}, ramp(0, 8));
  }
}

TEST_F(KerasGolden, Keras1) {
  const auto file = open_weights(golden("keras1.h5"));
  EXPECT_EQ(names(*file), (std::vector<std::string>{"block1_conv1/kernel", "block1_conv1/bias",
                                                    "bn2a_branch2a/gamma", "bn2a_branch2a/beta",
                                                    "bn2a_branch2a/moving_mean",
                                                    "bn2a_branch2a/moving_variance"}));
  expect_tensor(*file, "block1_conv1/kernel", {2, 2, 3, 2}, ramp(1, 24));
  expect_tensor(*file, "bn2a_branch2a/moving_variance", {2}, ramp(4, 2));
}

TEST_F(KerasGolden, Keras3InTheLegacyFormat) {
  const auto file = open_weights(golden("keras3.h5"));
  EXPECT_EQ(names(*file), (std::vector<std::string>{"conv/kernel", "conv/bias"}));
  expect_tensor(*file, "conv/kernel", {2, 2, 3, 2}, ramp(1, 24));
}

TEST_F(KerasGolden, Keras3) {
  const auto file = open_weights(golden("keras3.weights.h5"));
  EXPECT_EQ(file->format(), "Keras HDF5");
  EXPECT_TRUE(file->keras());
  EXPECT_EQ(names(*file), (std::vector<std::string>{"bn/gamma",
                                                    "bn/beta",
                                                    "bn/moving_mean",
                                                    "bn/moving_variance",
                                                    "bn_data/beta",
                                                    "bn_data/moving_mean",
                                                    "bn_data/moving_variance",
                                                    "block1_conv1/kernel",
                                                    "block1_conv1/bias",
                                                    "conv2d_2/kernel",
                                                    "head/kernel",
                                                    "head/bias",
                                                    "dw/depthwise_kernel",
                                                    "scaling/mean",
                                                    "scaling/variance",
                                                    "scaling/count",
                                                    "dense/kernel",
                                                    "dense/bias",
                                                    "sep/depthwise_kernel",
                                                    "sep/pointwise_kernel",
                                                    "sep/bias"}));
  expect_tensor(*file, "block1_conv1/kernel", {2, 2, 3, 2}, ramp(1, 24));
  expect_tensor(*file, "block1_conv1/bias", {2}, ramp(-2, 2));
  expect_tensor(*file, "head/kernel", {1, 1, 2, 1}, ramp(0, 2));
  expect_tensor(*file, "bn/gamma", {2}, ramp(1, 2));
  expect_tensor(*file, "bn/moving_variance", {2}, ramp(4, 2));
  expect_tensor(*file, "bn_data/beta", {2}, ramp(2, 2));
  expect_tensor(*file, "dw/depthwise_kernel", {2, 2, 2, 1}, ramp(0, 8));
  expect_tensor(*file, "sep/pointwise_kernel", {1, 1, 2, 2}, ramp(1, 4));
  expect_tensor(*file, "dense/kernel", {2, 3}, ramp(0, 6));
}

TEST_F(KerasGolden, Keras3WithoutNamesOfLayers) {
  const auto file = open_weights(golden("keras3_unnamed.weights.h5"));
  EXPECT_EQ(names(*file), (std::vector<std::string>{"conv2d/kernel", "conv2d/bias",
                                                    "conv2d_1/kernel", "conv2d_7/kernel"}));
  expect_tensor(*file, "conv2d/kernel", {2, 2, 3, 2}, ramp(1, 24));
  expect_tensor(*file, "conv2d_1/kernel", {1, 1, 2, 2}, ramp(5, 4));
  expect_tensor(*file, "conv2d_7/kernel", {1, 1, 2, 1}, ramp(0, 2));
}

TEST_F(KerasGolden, NestedModels) {
  const auto file = open_weights(golden("keras_nested.h5"));
  EXPECT_EQ(names(*file),
            (std::vector<std::string>{"block1_conv1/kernel", "block1_conv1/bias", "block1_bn/gamma",
                                      "conv2d_7/kernel", "conv2d_7/bias"}));
  expect_tensor(*file, "block1_bn/gamma", {2}, ramp(1, 2));
  expect_tensor(*file, "conv2d_7/kernel", {1, 1, 2, 1}, ramp(0, 2));
}

TEST_F(KerasGolden, OtherNumberTypes) {
  const auto file = open_weights(golden("keras_types.h5"));
  EXPECT_EQ(file->tensors()[0].dtype, StoredType::f64);
  EXPECT_EQ(file->tensors()[1].dtype, StoredType::f16);
  expect_tensor(*file, "dense/kernel", {2, 3}, ramp(0, 6));
  expect_tensor(*file, "dense/bias", {3}, ramp(1, 3));
}

TEST_F(KerasGolden, WhatIsNoKerasFileIsRefused) {
  expect_refused("keras3_unknown.weights.h5", "what the 3 variables of layer 'mixture' are");
  expect_refused("not_keras.h5",
                 "no attribute layer_names at / or /model_weights, and no groups 'vars'");
}

TEST_F(KerasGolden, DataInOtherFilesIsNotRead) {
  expect_refused("keras_links.h5", "a tensor is missing, or lies in another file");
  expect_refused("keras_external.h5", "data lies in another file");
}

TEST_F(KerasGolden, TruncatedFilesAreRefused) {
  const macadam::testing::TemporaryFolder folder;
  for (const char* name : {"keras2.h5", "keras3.weights.h5"}) {
    const std::string content = read_file(golden(name), 1 << 20);
    for (size_t size = 8; size < content.size(); size += content.size() / 60) {
      write_file_atomically(folder / "cut.h5", content.substr(0, size));
      EXPECT_THROW(open_weights(folder / "cut.h5"), InputError) << name << ": " << size;
    }
  }
}

TEST(KerasWithoutHdf5, SaysSo) {
  if (has_hdf5()) GTEST_SKIP() << "built with HDF5";
  expect_refused("keras2.h5", "this build cannot read HDF5");
}

}  // namespace
