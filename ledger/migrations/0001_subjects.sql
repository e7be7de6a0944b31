-- The chart of accounts 会计科目: what the kinds of accounts are called in the general ledger.

-- Codes and names follow the chart of the Chinese accounting standards for enterprises 企业会计
-- 准则; ours are the six-digit ones below them. `normal` is 1 when credits make the balance
-- more, -1 when debits do, as of accounts. `gl_code` is the code in the general ledger of the
-- company 总账: whoever has another one changes that column, and nothing else.
CREATE TABLE subject (
    code        text     PRIMARY KEY CHECK (code ~ '^[1-6][0-9]{3}([0-9]{2})*$'),
    parent_code text     REFERENCES subject,
    name        text     NOT NULL,
    name_zh     text     NOT NULL,
    -- 资产, 负债, 共同, 所有者权益, 成本, 损益: the first digit of the code says it too.
    class       text     NOT NULL
                CHECK (class IN ('asset', 'liability', 'common', 'equity', 'cost', 'profit_loss')),
    normal      smallint NOT NULL CHECK (normal IN (-1, 1)),
    gl_code     text     NOT NULL UNIQUE,
    -- A child is called after its parent.
    CHECK ((length(code) = 4) = (parent_code IS NULL)),
    CHECK (left(code, length(code) - 2) = parent_code),
    CHECK (class = (ARRAY['asset', 'liability', 'common', 'equity', 'cost', 'profit_loss'])
                   [left(code, 1)::integer])
);

INSERT INTO subject (code, parent_code, class, normal, gl_code, name_zh, name) VALUES
    ('1002',   NULL,   'asset',       -1, '1002',    '银行存款',         'Cash at banks'),
    ('100201', '1002', 'asset',       -1, '1002.01', '渠道及银行资金',   'Money at channels and banks'),
    ('1012',   NULL,   'asset',       -1, '1012',    '其他货币资金',     'Other monetary assets'),
    ('101201', '1012', 'asset',       -1, '1012.01', '渠道待清算资金',   'In clearing at channels'),
    ('1122',   NULL,   'asset',       -1, '1122',    '应收账款',         'Accounts receivable'),
    ('112201', '1122', 'asset',       -1, '1122.01', '应收渠道款',       'Receivable from channels'),
    ('1221',   NULL,   'asset',       -1, '1221',    '其他应收款',       'Other receivables'),
    ('122101', '1221', 'asset',       -1, '1221.01', '应收追款',         'To be recovered'),
    ('122102', '1221', 'asset',       -1, '1221.02', '短款',             'Shortages'),
    ('2202',   NULL,   'liability',    1, '2202',    '应付账款',         'Accounts payable'),
    ('220201', '2202', 'liability',    1, '2202.01', '应付商户待结算款', 'Merchants, pending'),
    ('220202', '2202', 'liability',    1, '2202.02', '应付商户可用款',   'Merchants, available'),
    ('220203', '2202', 'liability',    1, '2202.03', '出款在途',         'Payouts in transit'),
    ('2241',   NULL,   'liability',    1, '2241',    '其他应付款',       'Other payables'),
    ('224101', '2241', 'liability',    1, '2241.01', '用户钱包余额',     'Wallets of users'),
    ('224102', '2241', 'liability',    1, '2241.02', '商户保证金',       'Reserves of merchants'),
    ('224103', '2241', 'liability',    1, '2241.03', '退款在途',         'Refunds in transit'),
    ('224104', '2241', 'liability',    1, '2241.04', '挂账',             'Suspense'),
    ('224105', '2241', 'liability',    1, '2241.05', '重复支付款',       'Paid twice'),
    ('224106', '2241', 'liability',    1, '2241.06', '担保资金',         'Escrow'),
    ('224107', '2241', 'liability',    1, '2241.07', '长款',             'Surpluses'),
    ('4103',   NULL,   'equity',       1, '4103',    '本年利润',         'Profit of the year'),
    ('6001',   NULL,   'profit_loss',  1, '6001',    '主营业务收入',     'Operating income'),
    ('600101', '6001', 'profit_loss',  1, '6001.01', '商户手续费收入',   'Fees from merchants'),
    ('6301',   NULL,   'profit_loss',  1, '6301',    '营业外收入',       'Other income'),
    ('630101', '6301', 'profit_loss',  1, '6301.01', '差错收益',         'Gains of reconciliation'),
    ('6401',   NULL,   'profit_loss', -1, '6401',    '主营业务成本',     'Operating cost'),
    ('640101', '6401', 'profit_loss', -1, '6401.01', '渠道手续费成本',   'Fees to channels'),
    ('6601',   NULL,   'profit_loss', -1, '6601',    '销售费用',         'Selling expenses'),
    ('660101', '6601', 'profit_loss', -1, '6601.01', '营销费用',         'Marketing'),
    ('6603',   NULL,   'profit_loss', -1, '6603',    '财务费用',         'Financial expenses'),
    ('660301', '6603', 'profit_loss', -1, '6603.01', '尾差',             'Rounding'),
    ('6711',   NULL,   'profit_loss', -1, '6711',    '营业外支出',       'Other expenses'),
    ('671101', '6711', 'profit_loss', -1, '6711.01', '差错损失',         'Losses of reconciliation');

-- Under which subject the accounts of a kind are kept; a day with another kind does not close.
CREATE TABLE kind_subject (
    kind         text PRIMARY KEY,
    subject_code text NOT NULL REFERENCES subject
);

INSERT INTO kind_subject (kind, subject_code) VALUES
    ('cash',               '100201'),
    ('clearing',           '101201'),
    ('channel_receivable', '112201'),
    ('receivable',         '122101'),
    ('shortage',           '122102'),
    ('merchant_pending',   '220201'),
    ('merchant_available', '220202'),
    ('payout_transit',     '220203'),
    ('wallet',             '224101'),
    ('merchant_reserve',   '224102'),
    ('refund_transit',     '224103'),
    ('suspense',           '224104'),
    ('duplicate',          '224105'),
    ('escrow',             '224106'),
    ('surplus',            '224107'),
    ('profit',             '4103'),
    ('fee_income',         '600101'),
    ('recon_gain',         '630101'),
    ('channel_cost',       '640101'),
    ('marketing_expense',  '660101'),
    ('rounding',           '660301'),
    ('recon_loss',         '671101');
