// Freezing, learning-rate factors and frozen batch norms: what stays as it was, bit for bit, and
// that resuming in any phase changes nothing.

#include "engine/train/fine_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/to_size.h"
#include "tests/engine/training_process.h"

using namespace macadam;
using namespace macadam::testing;

namespace {

ConvLayer conv(int channels, int kernel, bool bias) {
  ConvLayer layer;
  layer.out_channels = channels;
  layer.kernel_h = layer.kernel_w = kernel;
  layer.padding = Padding::all(kernel / 2);
  layer.bias = bias;
  return layer;
}

/// Two scales with batch norms, whose encoder's names begin with `prefix`.
Graph network_with(const std::string& prefix, Shape input, int classes) {
  Graph g(input);
  const Value skip =
      g.relu(g.batch_norm(g.conv(g.input(), prefix + "conv1", conv(8, 3, false)), prefix + "bn1"));
  Value x = g.conv(g.max_pool(skip), prefix + "layer1.0.conv1", conv(8, 3, false));
  x = g.relu(g.batch_norm(x, prefix + "layer1.0.bn1"));
  x = g.concat({g.upsample(x, skip), skip});
  x = g.relu(g.batch_norm(g.conv(x, "decoder.conv1", conv(8, 3, false)), "decoder.bn1"));
  g.set_output(g.conv(x, "segmentation_head.0", conv(classes, 1, true)));
  g.mark_encoder(std::array<std::string_view, 1>{prefix});
  return g;
}

/// Named as the networks with encoders name theirs.
Graph encoder_network(Shape input, int classes) { return network_with("encoder.", input, classes); }

FineTuning freezing(std::vector<FreezeRule> rules) {
  FineTuning tuning;
  tuning.freeze = std::move(rules);
  return tuning;
}

/// The message of the InputError that the options cause.
std::string complaint(const FineTuning& tuning, const Graph& graph) {
  try {
    check_fine_tuning(tuning, graph);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

using Values = std::map<std::string, std::vector<float>>;

/// All parameters by name.
Values values_of(const Parameters& parameters) {
  Values values;
  for (size_t p = 0; p < parameters.size(); ++p) {
    values[parameters.specs()[p].name] = parameters.read(p, Parameters::Field::value);
  }
  return values;
}

/// The names of the entries that differ.
std::set<std::string> changed(const Values& before, const Values& after) {
  std::set<std::string> names;
  for (const auto& [name, values] : before) {
    if (after.at(name) != values) names.insert(name);
  }
  return names;
}

std::set<std::string> parameters_named(const Graph& graph, std::string_view pattern,
                                       bool trained = true) {
  std::set<std::string> names;
  for (const ParameterSpec& spec : graph.parameters()) {
    if (spec.trainable() == trained && matches_pattern(pattern, spec.name)) names.insert(spec.name);
  }
  return names;
}

Configuration encoder_configuration(FineTuning tuning = {}) {
  Configuration c;
  c.network = encoder_network;
  c.fine_tuning = std::move(tuning);
  return c;
}

TEST(FineTuning, PatternsMatchWholeNames) {
  for (const char* pattern : {"encoder.*", "*", "**", "encoder.layer1.0.bn1.weight", "*.weight",
                              "encoder.*.weight", "e*r.l?yer?.*.bn*", "*bn1*", "*layer1*weight"}) {
    EXPECT_TRUE(matches_pattern(pattern, "encoder.layer1.0.bn1.weight")) << pattern;
  }
  for (const char* pattern :
       {"encoder", "encoder.", "encoder.?", "decoder.*", "*.bias", "*.weigh", "encoder.*.conv1.*",
        "?encoder.*", "", "ENCODER.*", "encoder.layer1.0.bn1.weight?", "*weight*layer1*"}) {
    EXPECT_FALSE(matches_pattern(pattern, "encoder.layer1.0.bn1.weight")) << pattern;
  }
  EXPECT_TRUE(matches_pattern("", ""));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_FALSE(matches_pattern("?", ""));
  EXPECT_TRUE(matches_pattern("*aab", "aaaaab")) << "the star must give back";
  EXPECT_FALSE(matches_pattern("a.b", "axb")) << "dots stand for themselves";
}

TEST(FineTuning, APatternWithoutAMatchNamesTheNearestPart) {
  const Graph graph = encoder_network(kTrainInput, kClasses);
  EXPECT_EQ(complaint(freezing({{"encodr.*"}}), graph),
            "no parameter matches 'encodr.*': freeze: did you mean \"encoder.*\"?");
  EXPECT_EQ(complaint(freezing({{"encoder.*"}, {"encoder.layer2.*"}}), graph),
            "no parameter matches 'encoder.layer2.*': freeze: did you mean \"encoder.layer1.*\"?");
  EXPECT_EQ(complaint(freezing({{"decoder.conv1.wieght"}}), graph),
            "no parameter matches 'decoder.conv1.wieght': freeze: did you mean "
            "\"decoder.conv1.weight\"?");
  EXPECT_EQ(complaint(freezing({{"encoder"}}), graph),
            "no parameter matches 'encoder': freeze: did you mean \"encoder.*\"?");
  EXPECT_NE(complaint(freezing({{"*.running_mean"}}), graph).find("freeze_batch_norm"),
            std::string::npos)
      << "running statistics are not trained anyway";
  EXPECT_EQ(complaint(freezing({{"encoder.*", 2}, {"*.bias"}}), graph), "accepted");
}

// Its parameters keep their authors' names.
TEST(FineTuning, AnEncoderOfAnyNameAnswersToEncoder) {
  const Graph graph = network_with("stem_", kTrainInput, kClasses);
  FineTuning tuning = freezing({{"encoder.*"}});
  tuning.batch_norms = FrozenBatchNorms::encoder;
  EXPECT_EQ(complaint(tuning, graph), "accepted");
  const std::vector<float> scales = learning_rate_scales(tuning, graph.parameters(), 0);
  for (size_t i = 0; i < scales.size(); ++i) {
    const bool encoder = graph.parameters()[i].name.starts_with("stem_");
    EXPECT_EQ(scales[i], encoder ? 0.0f : 1.0f) << graph.parameters()[i].name;
  }
  const Graph frozen = with_frozen_batch_norms(tuning, graph);
  for (const Node& node : frozen.nodes()) {
    const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
    if (norm != nullptr) {
      EXPECT_EQ(norm->desc.frozen, node.name.starts_with("stem_")) << node.name;
    }
  }
  EXPECT_EQ(complaint(freezing({{"encoder.stem_conv1.*"}}), graph), "accepted");
  EXPECT_EQ(complaint(freezing({{"encoder.decoder.*"}}), graph),
            "no parameter matches 'encoder.decoder.*': freeze: did you mean \"decoder.conv1.*\"?");
  EXPECT_EQ(complaint(freezing({{"encodr.*"}}), graph),
            "no parameter matches 'encodr.*': freeze: did you mean \"encoder.*\"?");
}

TEST(FineTuning, OptionsWithoutEffectAreRefused) {
  const Graph graph = encoder_network(kTrainInput, kClasses);
  const Graph plain = small_unet(kTrainInput, kClasses, 0.2f);
  EXPECT_EQ(complaint(freezing({{"*", 3}}), graph),
            "every parameter is frozen: freeze: leave some of them to be trained");
  EXPECT_NE(complaint(freezing({{"encoder.*"}, {"decoder.*", 1}, {"seg*"}}), graph), "accepted");

  FineTuning tuning;
  tuning.encoder_lr = 0.1f;
  EXPECT_EQ(complaint(tuning, graph), "accepted");
  EXPECT_EQ(complaint(tuning, plain), "the network has no encoder: encoder_lr: remove the key");
  tuning = {};
  tuning.batch_norms = FrozenBatchNorms::all;
  EXPECT_EQ(complaint(tuning, graph), "accepted");
  EXPECT_NE(complaint(tuning, plain).find("no batch norm"), std::string::npos);
  tuning.batch_norms = FrozenBatchNorms::encoder;
  EXPECT_EQ(complaint(tuning, graph), "accepted");
  EXPECT_NE(complaint(tuning, small_resnet(kTrainInput, kClasses)).find("no batch norm"),
            std::string::npos)
      << "it has some, but no encoder";
  EXPECT_EQ(complaint({}, plain), "accepted");

  const TemporaryFolder folder;
  EXPECT_THROW(Process(folder.path(), encoder_configuration(freezing({{"*"}}))), InputError);
}

// As the pyramids of real-time networks have it. A batch of one image would teach it a variance of
// 0.
TEST(FineTuning, ABatchNormOfOneValueAChannelIsRefused) {
  const auto pyramid = [](int images, int rows) {
    Graph g({images, rows, 2, 3});
    Value x =
        g.relu(g.batch_norm(g.conv(g.input(), "encoder.conv1", conv(8, 3, false)), "encoder.bn1"));
    const Value mean = g.batch_norm(g.global_average_pool(x), "spp.bn");
    g.set_output(g.conv(g.upsample(mean, x), "head.0", conv(kClasses, 1, true)));
    g.mark_encoder(std::array<std::string_view, 1>{"encoder."});
    return g;
  };
  EXPECT_EQ(complaint({}, pyramid(1, 8)),
            "the batch norm 'spp.bn' would see one value a channel, which has no variance: batch: "
            "take 2 photos or more, or freeze_batch_norm = \"all\"");
  EXPECT_EQ(complaint({}, pyramid(2, 8)), "accepted");
  FineTuning tuning;
  tuning.batch_norms = FrozenBatchNorms::encoder;
  EXPECT_NE(complaint(tuning, pyramid(1, 8)).find("'spp.bn'"), std::string::npos);
  tuning.batch_norms = FrozenBatchNorms::all;
  EXPECT_EQ(complaint(tuning, pyramid(1, 8)), "accepted");

  Configuration c;
  c.network = [](Shape input, int classes) {
    return encoder_network({1, input.h, input.w, 3}, classes);
  };
  const TemporaryFolder folder;
  EXPECT_NO_THROW(Process(folder.path(), c)) << "others take a batch of one";
}

TEST(FineTuning, ScalesFollowTheEpochs) {
  const Graph graph = encoder_network(kTrainInput, kClasses);
  FineTuning tuning = freezing({{"encoder.*", 2}, {"*.bn1.*", 5}, {"*.bias"}});
  tuning.encoder_lr = 0.25f;
  const auto scale = [&](std::string_view name, int64_t epoch) {
    const std::vector<float> scales = learning_rate_scales(tuning, graph.parameters(), epoch);
    const auto found = std::ranges::find(graph.parameters(), name, &ParameterSpec::name);
    return scales.at(to_size(found - graph.parameters().begin()));
  };
  EXPECT_EQ(scale("encoder.conv1.weight", 1), 0);
  EXPECT_EQ(scale("encoder.conv1.weight", 2), 0.25f);
  EXPECT_EQ(scale("encoder.bn1.weight", 4), 0);
  EXPECT_EQ(scale("encoder.bn1.weight", 5), 0.25f);
  EXPECT_EQ(scale("encoder.bn1.bias", 1'000'000), 0);
  EXPECT_EQ(scale("decoder.conv1.weight", 0), 1);
  EXPECT_EQ(end_of_phase(tuning, 0), 2);
  EXPECT_EQ(end_of_phase(tuning, 1), 2);
  EXPECT_EQ(end_of_phase(tuning, 2), 5);
  EXPECT_EQ(end_of_phase(tuning, 5), FreezeRule::kWholeRun);
  EXPECT_EQ(end_of_phase({}, 0), FreezeRule::kWholeRun);
}

TEST(FineTuning, FreezesTheBatchNormsThatItNames) {
  const Graph graph = encoder_network(kTrainInput, kClasses);
  const auto frozen = [&](FrozenBatchNorms which) {
    FineTuning tuning;
    tuning.batch_norms = which;
    const Graph result = with_frozen_batch_norms(tuning, graph);
    EXPECT_EQ(result.nodes().size(), graph.nodes().size());
    EXPECT_EQ(result.output(), graph.output());
    std::set<std::string> names;
    for (const Node& node : result.nodes()) {
      const auto* norm = std::get_if<BatchNormLayer>(&node.layer);
      if (norm != nullptr && norm->desc.frozen) names.insert(node.name);
    }
    return names;
  };
  const std::set<std::string> encoder{"encoder.bn1", "encoder.layer1.0.bn1"};
  std::set<std::string> all = encoder;
  all.insert("decoder.bn1");
  EXPECT_TRUE(frozen(FrozenBatchNorms::none).empty());
  EXPECT_EQ(frozen(FrozenBatchNorms::encoder), encoder);
  EXPECT_EQ(frozen(FrozenBatchNorms::all), all);
}

class FineTuningRun : public ::testing::TestWithParam<OptimizerKind> {
 protected:
  static Configuration configuration(FineTuning tuning) {
    Configuration c = encoder_configuration(std::move(tuning));
    c.optimizer = GetParam();
    return c;
  }
};

TEST_P(FineTuningRun, FrozenParametersKeepEveryBitUntilTheirEpoch) {
  const TemporaryFolder folder;
  Process process(folder.path(), configuration(freezing({{"encoder.*", 2}, {"*.bias"}})));
  const Graph& graph = process.train_graph;
  const std::set<std::string> encoder = parameters_named(graph, "encoder.*");
  const std::set<std::string> biases = parameters_named(graph, "*.bias");
  std::set<std::string> always, after;
  for (const std::string& name : parameters_named(graph, "*")) {
    if (biases.contains(name)) continue;
    after.insert(name);
    if (!encoder.contains(name)) always.insert(name);
  }
  Values before = values_of(process.parameters);
  process.observer.after_epoch = [&](const EpochRecord& summary) {
    SCOPED_TRACE(summary.epoch);
    const Values now = values_of(process.parameters);
    std::set<std::string> wanted = summary.epoch <= 2 ? always : after;
    const Values moments = values_of(process.trainer.step().optimizer().moments().front());
    for (const std::string& name : parameters_named(graph, "*")) {
      const std::vector<float>& values = moments.at(name);
      const bool zero = std::ranges::all_of(values, [](float v) { return v == 0; });
      EXPECT_EQ(zero, !wanted.contains(name)) << name;
    }
    wanted.merge(parameters_named(graph, "*", false));  // running statistics go on
    EXPECT_EQ(changed(before, now), wanted);
    before = now;
  };
  EXPECT_EQ(process.trainer.run(never), TrainingEnd::finished);
}

TEST_P(FineTuningRun, TheEncodersLearningRateIsScaled) {
  Configuration c = configuration({});
  c.learning_rate = [](int64_t) { return 1e-3f; };
  const auto steps_of = [&](float encoder_lr) {
    c.fine_tuning.encoder_lr = encoder_lr;
    const TemporaryFolder folder;
    Process process(folder.path(), c);
    Values moved = values_of(process.parameters);
    process.trainer.run([&] { return process.train.served() >= 1; });
    const Values after = values_of(process.parameters);
    for (auto& [name, values] : moved) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = after.at(name)[i] - values[i];
    }
    return moved;
  };
  const Values whole = steps_of(1), tenth = steps_of(0.1f);
  for (const auto& [name, step] : whole) {
    const float factor = name.starts_with("encoder.") && !name.ends_with("running_mean") &&
                                 !name.ends_with("running_var")
                             ? 0.1f
                             : 1.0f;
    for (size_t i = 0; i < step.size(); ++i) {
      ASSERT_NEAR(tenth.at(name)[i], factor * step[i], 3e-7f) << name;
    }
  }
}

TEST_P(FineTuningRun, ResumingInAnyPhaseContinuesBitForBit) {
  FineTuning tuning = freezing({{"encoder.*", 1}, {"decoder.bn1.*", 2}});
  tuning.encoder_lr = 0.5f;
  tuning.batch_norms = FrozenBatchNorms::encoder;
  const Configuration c = configuration(tuning);
  const TemporaryFolder whole;
  Process(whole.path(), c).trainer.run(never);
  for (int64_t stop = 1; stop < kEpochs * kBatches; ++stop) {
    SCOPED_TRACE(stop);
    const TemporaryFolder folder;
    Process first(folder.path(), c);
    EXPECT_EQ(first.trainer.run([&] { return first.train.served() >= stop; }),
              TrainingEnd::interrupted);
    Process second(folder.path(), c);
    second.trainer.resume();
    EXPECT_EQ(second.trainer.run(never), TrainingEnd::finished);
    expect_same_runs(folder.path(), whole.path());
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, FineTuningRun,
                         ::testing::Values(OptimizerKind::adamw, OptimizerKind::sgd));

TEST(FineTuningRun, FrozenBatchNormsKeepTheirStatisticsAndTrainTheirScales) {
  FineTuning tuning;
  tuning.batch_norms = FrozenBatchNorms::encoder;
  const TemporaryFolder folder, other;
  Process process(folder.path(), encoder_configuration(tuning));
  const Values before = values_of(process.parameters);
  process.trainer.run(never);
  std::set<std::string> wanted;
  for (const auto& [name, values] : before) {
    const bool statistic = name.find(".running_") != std::string::npos;
    if (!statistic || name.starts_with("decoder.")) wanted.insert(name);
  }
  EXPECT_EQ(changed(before, values_of(process.parameters)), wanted);

  Process trained(other.path(), encoder_configuration());
  trained.trainer.run(never);
  EXPECT_NE(log_entries(folder.path(), "step")[0], log_entries(other.path(), "step")[0])
      << "running statistics in place of the batch's";
}

TEST(FineTuningRun, PhasesAreAnnounced) {
  const Configuration c = encoder_configuration(freezing({{"encoder.*", 2}, {"decoder.*", 9}}));
  const TemporaryFolder folder;
  Process process(folder.path(), c);
  process.trainer.run([&] { return process.train.served() > 2 * kBatches; });
  const int64_t all = process.train_graph.parameter_count();
  constexpr int64_t kHead = 8 * kClasses + kClasses, kDecoder = 16 * 8 * 9 + 2 * 8;
  ASSERT_EQ(process.observer.phases.size(), 2u);
  const auto& [first, second] = std::tie(process.observer.phases[0], process.observer.phases[1]);
  EXPECT_EQ(std::tuple(first.first_epoch, first.last_epoch), std::tuple(1, 2));
  EXPECT_EQ(std::tuple(first.trained, first.frozen), std::tuple(kHead, all - kHead));
  EXPECT_EQ(std::tuple(second.first_epoch, second.last_epoch), std::tuple(3, kEpochs));
  EXPECT_EQ(std::tuple(second.trained, second.frozen), std::tuple(all - kDecoder, kDecoder));

  Process again(folder.path(), c);
  again.trainer.resume();
  again.trainer.run(never);
  ASSERT_EQ(again.observer.phases.size(), 1u);
  EXPECT_EQ(again.observer.phases[0].frozen, kDecoder);

  const TemporaryFolder other;
  Process plain(other.path(), encoder_configuration());
  plain.trainer.run(never);
  EXPECT_TRUE(plain.observer.phases.empty());
}

}  // namespace
