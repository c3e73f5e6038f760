// `low_rank.cu` beside sums in double, for shapes with ends in all directions.
#include "emulated.h"

#define ELEMENT bf16
#include "low_rank.cu"

typedef std::vector<bf16> Short;
typedef std::vector<float> Float;
typedef std::vector<double> Exact;

static bool wrong = false;
static const float SCALES[3] = {0.5f, 0.25f, 1.0f};

static Short random_numbers(size_t count, float bound) {
    Short numbers(count);
    for (bf16 &x : numbers) x = from_float<bf16>((rand() % 2001 - 1000) / 1000.0f * bound);
    return numbers;
}
static double rounded(double x) { return to_float(from_float<bf16>((float)x)); }
static Exact exact(const Short &numbers) {
    Exact values;
    for (bf16 x : numbers) values.push_back(to_float(x));
    return values;
}

// The largest difference, as a share of the largest number, is at most what one rounding to bf16 makes, or several.
template <typename T> static void compare(const char *what, const Exact &expected, const std::vector<T> &got, double most) {
    double largest = 1e-12, difference = 0;
    for (double x : expected) largest = fmax(largest, fabs(x));
    for (size_t i = 0; i < expected.size(); i++) {
        const double apart = fabs(expected[i] - to_float(got[i]));
        difference = apart >= 0 ? fmax(difference, apart) : INFINITY;
    }
    if (difference <= most * largest) return;
    wrong = true;
    printf("  %s: %.1e of the largest number, and at most %.0e is right\n", what, difference / largest, most);
}

struct Case {
    u32 tokens, columns, rank, threads, each, stages;
    u32 blocks() const { return (columns + threads - 1) / threads; }
    u32 splits() const { return (tokens + each - 1) / each; }
    u32 tiles() const { return (tokens + 15) / 16; }
    // What has three inner sums has no room for more than two stages.
    u32 two_stages() const { return min(stages, 2); }

    Short activation(float bound) const { return random_numbers((size_t)tokens * columns, bound); }
    Short low() const { return random_numbers((size_t)tokens * rank, 1); }
    Short weight() const { return random_numbers((size_t)rank * columns, 1); }

    // W as A [rank, columns] or as B [columns, rank].
    u32 at(bool a, u32 column, u32 r) const { return a ? r * columns + column : column * rank + r; }
    Exact inner(const Exact &x, const Short &w, bool a, double scale) const {
        Exact sums(tokens * rank);
        for (u32 token = 0; token < tokens; token++)
            for (u32 column = 0; column < columns; column++)
                for (u32 r = 0; r < rank; r++)
                    sums[token * rank + r] += scale * x[token * columns + column] * to_float(w[at(a, column, r)]);
        return sums;
    }
    // Added to ones.
    Exact outer(const Exact &x, const Short &low, bool a, double scale) const {
        Exact sums(rank * columns, 1.0);
        for (u32 token = 0; token < tokens; token++)
            for (u32 column = 0; column < columns; column++)
                for (u32 r = 0; r < rank; r++)
                    sums[at(a, column, r)] += scale * x[token * columns + column] * to_float(low[token * rank + r]);
        return sums;
    }
};

// What blocks leave in parts; NaN where nothing is left.
struct Left {
    const Case &of;
    Float inners, outers;
    explicit Left(const Case &of)
        : of(of), inners(3 * of.blocks() * of.tiles() * SUMS, NAN), outers(3 * of.splits() * RANK * of.columns, NAN) {}
    void kernel(std::function<void()> run) const { launch({of.blocks(), of.splits()}, of.threads, run); }
    std::array<Short, 3> lows(u32 count, const float *scales = SCALES) {
        std::array<Short, 3> to;
        to.fill(Short(of.tokens * of.rank));
        launch({3, count}, 256, [&] {
            add_inners(to[0].data(), to[1].data(), to[2].data(), inners.data(), scales[0], scales[1], scales[2], of.tokens,
                       of.rank, of.blocks());
        });
        return to;
    }
    std::array<Float, 3> gradients(u32 count, u32 turned, const float *scales = SCALES) {
        std::array<Float, 3> to;
        to.fill(Float(of.rank * of.columns, 1.0f));
        launch({3, count}, 256, [&] {
            add_outers_f32(to[0].data(), to[1].data(), to[2].data(), outers.data(), scales[0], scales[1], scales[2],
                           of.columns, of.rank, of.splits(), turned);
        });
        return to;
    }
};

static void outputs(const Case &of) {
    const Short g = of.activation(1), b = of.weight(), low = of.low();
    Left left(of);
    left.kernel([&] {
        output_backward(left.inners.data(), left.outers.data(), g.data(), b.data(), low.data(), of.tokens, of.columns,
                        of.rank, of.each, of.stages);
    });
    compare("output_backward, inner", of.inner(exact(g), b, false, 0.5), left.lows(1)[0], 4e-3);
    compare("output_backward, outer", of.outer(exact(g), low, false, 0.5), left.gradients(1, 1)[0], 1e-6);
}

static void inputs_of(const Case &of, u32 count) {
    const float ones[3] = {1, 1, 1};
    const Short x = of.activation(1), a[3] = {of.weight(), of.weight(), of.weight()}, g[3] = {of.low(), of.low(), of.low()};
    Left left(of);
    left.kernel([&] {
        (count == 2 ? inputs_2 : inputs_3)(left.inners.data(), x.data(), a[0].data(), a[1].data(), a[2].data(), of.tokens,
                                           of.columns, of.rank, of.each, of.two_stages());
    });
    left.kernel([&] {
        (count == 2 ? inputs_backward_2 : inputs_backward_3)(left.outers.data(), x.data(), g[0].data(), g[1].data(),
                                                             g[2].data(), of.tokens, of.columns, of.rank, of.each, of.stages);
    });
    const auto lows = left.lows(count, ones);
    const auto gradients = left.gradients(count, 0, ones);
    for (u32 n = 0; n < count; n++) {
        compare("inputs", of.inner(exact(x), a[n], true, 1), lows[n], 4e-3);
        compare("inputs_backward", of.outer(exact(x), g[n], true, 1), gradients[n], 1e-6);
    }
}

static void gated(const Case &of, bool added) {
    Short gate = of.activation(3), up = of.activation(1), product(gate.size());
    const Short grad = of.activation(1), b[2] = {of.weight(), of.weight()}, a = of.weight();
    const Short low[2] = {of.low(), of.low()}, g_low = of.low();
    Exact whole[2] = {exact(gate), exact(up)}, gates(gate.size()), ups(gates), products(gates);
    if (added)
        for (u32 n = 0; n < 2; n++)
            for (u32 i = 0; i < gate.size(); i++)
                for (u32 r = 0; r < of.rank; r++)
                    whole[n][i] += SCALES[n] * to_float(low[n][i / of.columns * of.rank + r]) *
                                   to_float(b[n][i % of.columns * of.rank + r]);
    for (u32 i = 0; i < gate.size(); i++) {
        const double x = whole[0][i], y = whole[1][i], g = to_float(grad[i]), s = 1 / (1 + exp(-x));
        products[i] = rounded(x * s * y), gates[i] = rounded(g * y * s * (1 + x * (1 - s))), ups[i] = rounded(g * x * s);
    }
    // They are rounded to bf16 before they are summed: now and then in f32 to another neighbour than in double.
    const double most = 4e-3;
    if (added) {
        Left left(of);
        auto run = [&](bf16 *to, const bf16 *from) {
            left.kernel([&] {
                swiglu_added(to, left.inners.data(), from, up.data(), b[0].data(), low[0].data(), b[1].data(), low[1].data(),
                             a.data(), of.tokens, of.columns, of.rank, of.each, of.stages, SCALES[0], SCALES[1]);
            });
        };
        run(product.data(), gate.data());
        compare("swiglu_added", products, product, most);
        compare("swiglu_added, inner", of.inner(products, a, true, 0.5), left.lows(1)[0], 4e-3);
        Short over = gate;
        run(over.data(), over.data());
        compare("swiglu_added over gate", products, over, most);
    }
    Left left(of);
    left.kernel([&] {
        (added ? swiglu_backward_added : swiglu_backward_adapted)(
            gate.data(), up.data(), left.inners.data(), left.outers.data(), grad.data(), b[0].data(), low[0].data(),
            b[1].data(), low[1].data(), a.data(), g_low.data(), of.tokens, of.columns, of.rank, of.each,
            of.two_stages(), SCALES[0], SCALES[1]);
    });
    compare("swiglu_backward, gate", gates, gate, most);
    compare("swiglu_backward, up", ups, up, most);
    const auto lows = left.lows(3);
    const auto gradients = left.gradients(3, 2);
    const Exact *of_gated[2] = {&gates, &ups};
    for (u32 n = 0; n < 2; n++) {
        compare("swiglu_backward, inner", of.inner(*of_gated[n], b[n], false, SCALES[n]), lows[n], 4e-3);
        compare("swiglu_backward, outer", of.outer(*of_gated[n], low[n], false, SCALES[n]), gradients[n], most);
    }
    compare("swiglu_backward, inner of down", of.inner(products, a, true, 1), lows[2], 4e-3);
    compare("swiglu_backward, outer of down", of.outer(products, g_low, true, 1), gradients[2], most);
}

int main() {
    const Case cases[] = {
        {16, 32, 16, 64, 32, 1},   {50, 64, 8, 64, 32, 2},     {50, 96, 16, 64, 16, 1},
        {70, 160, 16, 128, 48, 4}, {130, 608, 8, 512, 64, 2}, {130, 544, 16, 512, 144, 4},
    };
    for (const Case &of : cases) {
        printf("[%u, %u], rank %u: %u threads, %u tokens, %u stages\n", of.tokens, of.columns, of.rank, of.threads, of.each,
               of.stages);
        outputs(of);
        inputs_of(of, 2);
        inputs_of(of, 3);
        gated(of, false);
        gated(of, true);
    }
    puts(wrong ? "kernels compute something else" : "kernels compute what they should");
    return wrong;
}
