"""A string flag that accepts a fixed list of values."""

def _impl(ctx):
    value = ctx.build_setting_value
    if value not in ctx.attr.values:
        fail("%s: %r is not one of %s" % (ctx.label, value, ctx.attr.values))
    return []

string_flag = rule(
    implementation = _impl,
    attrs = {"values": attr.string_list(mandatory = True)},
    build_setting = config.string(flag = True),
)
